/**
 * Rules on a device: shaders and their CPU twins.
 *
 * Loaded where a bus has a device, and by nobody else; what a rule says as a shader is checked without it.
 *
 * @module
 */

export * from "./gpu_rules.ts";
export { SHADER_RUN_MIN } from "./_rule_plans.ts";
export * from "./rule_shader.ts";
export * from "./shader_difference.ts";
export * from "./shader_layout.ts";
