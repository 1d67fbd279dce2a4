import assert from "node:assert/strict";
import { SPAN_BYTES } from "./arena.ts";
import { testArena } from "./arena_conformance.ts";
import { mappingUnavailable } from "./mapped_file.ts";
import { MappedImage } from "./mapped_image.ts";

const UNAVAILABLE = mappingUnavailable();
const SKIPPED = UNAVAILABLE === undefined ? "" : ` (skipped: ${UNAVAILABLE})`;

function test(name: string, fn: () => void): void {
  Deno.test({ name: name + SKIPPED, ignore: UNAVAILABLE !== undefined, fn });
}

/** Runs `body` with the path of a file that is not there yet. */
function withPath(body: (path: string) => void, dir?: string): void {
  const folder = Deno.makeTempDirSync({ dir });
  try {
    body(`${folder}/arena`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

for (const [where, dir] of [["on a disk", undefined], ["in /dev/shm", "/dev/shm"]] as const) {
  testArena({
    name: `MappedArena ${where}`,
    with: (limitBytes, check) =>
      withPath((path) => {
        using image = MappedImage.create(path, { limitBytes, shards: 1 });
        check(image.arena);
      }, dir),
  }, test);
}

test("MappedArena takes the space of a page before it is used, and no more than it says", () => {
  withPath((path) => {
    using image = MappedImage.create(path, { limitBytes: 2 ** 33, shards: 1 });
    const blocks = () => Deno.statSync(path).blocks! * 512;
    assert.ok(Deno.statSync(path).size > 2 ** 33 && blocks() < 2 ** 17, `${blocks()} bytes`);
    image.arena.grow(2 ** 24);
    assert.ok(blocks() >= 2 ** 24 && blocks() < 2 ** 25, `${blocks()} bytes`);
  });
});

test("MappedArena rounds its limit down to whole spans", () => {
  withPath((path) => {
    using image = MappedImage.create(path, { limitBytes: 2 * SPAN_BYTES - 1, shards: 1 });
    assert.equal(image.arena.limitBytes, SPAN_BYTES);
    assert.throws(() => image.arena.grow(SPAN_BYTES + 1), { code: "allocation" });
  });
});

test("MappedArena keeps views good after its file is closed and removed", () => {
  let view: Uint8Array = new Uint8Array(0);
  withPath((path) => {
    using image = MappedImage.create(path, { limitBytes: 2 ** 20, shards: 1 });
    view = image.arena.bytes(16, 16);
    view[0] = 7;
  });
  assert.equal(view[0], 7);
});
