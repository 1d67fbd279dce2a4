/**
 * Rules on a device: shaders and their CPU twins.
 *
 * Loaded where a bus has a device, and by nobody else; what a rule says as a shader is checked without it.
 *
 * @module
 */

export { GpuRules } from "./gpu_rules.ts";
