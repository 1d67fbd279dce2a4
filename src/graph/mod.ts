/**
 * Structure: which pages depend on which, kept free of cycles, and what can be asked of it.
 *
 * @module
 */

export * from "./closure.ts";
export * from "./components.ts";
export * from "./graph_drawing.ts";
export * from "./graph_operations.ts";
export * from "./graph_snapshot.ts";
export * from "./graph_view.ts";
export * from "./incremental_order.ts";
export * from "./topology.ts";
export * from "./traversal.ts";
