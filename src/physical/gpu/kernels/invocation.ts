/**
 * Which invocation of a dispatch a kernel runs as. Workgroups are counted over two dimensions, since one has room for
 * 65,535 of them.
 */

/** Parameter of a kernel's entry, and the number of its workgroup. */
export const INVOCATION_WGSL: string = /* wgsl */ `
struct Invocation {
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
}
fn workgroup_of(invocation: Invocation) -> u32 {
  return invocation.group.y * invocation.groups.x + invocation.group.x;
}
`;
