import { CPU_APPLY } from "./apply_backend.ts";
import { testApply } from "./apply_conformance.ts";

testApply(
  { name: "CPU_APPLY", with: (_, check) => check(CPU_APPLY), runs: 100 },
  (name, body) => Deno.test(name, body),
);
