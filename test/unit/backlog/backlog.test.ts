// The backlog on a real file system: what goes in comes out in order and unchanged, over restarts and crashes; what the
// bounds or damage take is counted to the item.
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import fc from 'fast-check';
import { Backlog, type BacklogOptions, type Handed, type KeptRequest } from '../../../src/backlog/backlog.js';
import { DiskRoom } from '../../../src/backlog/disk-room.js';

const root = mkdtempSync(join(tmpdir(), 'underspan-backlog-'));
after(() => rmSync(root, { recursive: true }));

let nowMs = 1_000_000;

function newFolder(): string {
  return mkdtempSync(join(root, 'b-'));
}

function open(folder: string, options: Partial<BacklogOptions> = {}): Promise<Backlog> {
  return Backlog.open({
    folder,
    room: new DiskRoom(folder, 0),
    maxBytes: 64 << 20,
    maxAgeMs: 3_600_000,
    warn: () => {},
    now: () => nowMs,
    ...options,
  });
}

/** Content that cannot be compressed, and tells which request it is. */
function request(id: number, length = 2000, itemCount = 10): KeptRequest {
  const bytes = Buffer.alloc(length);
  let seed = id + 1;
  for (let at = 0; at < length; at++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = seed >>> 24;
  }
  bytes.writeUInt32LE(id, 0);
  return { bytes, itemCount, offeredUnixMs: nowMs };
}

/** The numbers of those that were taken; ends at the first that was not. */
async function append(backlog: Backlog, batch: readonly KeptRequest[]): Promise<number[]> {
  const numbers: number[] = [];
  for (const one of batch) {
    const number = await backlog.append(one);
    if (number === null) break;
    numbers.push(number);
  }
  return numbers;
}

const idOf = ({ bytes }: Handed): number => Buffer.from(bytes).readUInt32LE(0);

/** Everything that is there, settled one by one; each unchanged. */
async function drain(backlog: Backlog): Promise<number[]> {
  const ids: number[] = [];
  for (let handed = await backlog.next(); handed !== null; handed = await backlog.next()) {
    const id = idOf(handed);
    assert.deepEqual(Buffer.from(handed.bytes), request(id, handed.bytes.length).bytes);
    ids.push(id);
    await backlog.settle(handed);
  }
  return ids;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const requests = (from: number, to: number, length?: number): KeptRequest[] =>
  range(from, to).map(id => request(id, length));
const segmentsOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter(name => name.endsWith('.log'))
    .sort();

test('what goes in comes out, in order and unchanged; then no file is left', async () => {
  const folder = newFolder();
  const backlog = await open(folder);
  await append(backlog, requests(0, 20));
  assert.equal(backlog.itemCount, 200);
  assert.ok(backlog.byteLength > 20 * 2000);
  assert.deepEqual(await drain(backlog), range(0, 20));
  assert.equal(backlog.itemCount, 0);
  assert.deepEqual(segmentsOf(folder), []);
  await append(backlog, requests(20, 22));
  assert.deepEqual(await drain(backlog), [20, 21]);
  await backlog.close();
});

test('spans shrink on disk', async () => {
  const backlog = await open(newFolder());
  const bytes = Buffer.from('http.request.method=GET url.path=/order '.repeat(5000));
  await backlog.append({ bytes, itemCount: 1, offeredUnixMs: nowMs });
  assert.ok(backlog.byteLength < bytes.length / 20);
  assert.deepEqual(Buffer.from((await backlog.next())?.bytes ?? []), bytes);
  await backlog.close();
});

test('what is put back is handed out again before what follows', async () => {
  const backlog = await open(newFolder());
  await append(backlog, requests(0, 4));
  const [first, second] = [await backlog.next(), await backlog.next()] as [Handed, Handed];
  backlog.putBack(first);
  assert.equal(await backlog.next(), first);
  await backlog.settle(second);
  backlog.putBack(first);
  assert.deepEqual(await drain(backlog), [0, 2, 3]);
  await backlog.close();
});

/** What the next agent finds when this one is killed now. */
async function kill(backlog: Backlog, folder: string): Promise<string> {
  const image = newFolder();
  cpSync(folder, image, { recursive: true });
  await backlog.close();
  return image;
}

for (const how of ['closed', 'killed'] as const) {
  test(`the next agent goes on where the last one, ${how}, was; what was in hand is sent again`, async () => {
    let folder = newFolder();
    const first = await open(folder, { maxBytes: 1 << 20 });
    await append(first, requests(0, 100, 4000));
    for (let i = 0; i < 30; i++) await first.settle((await first.next()) as Handed);
    const inHand = (await first.next()) as Handed;
    assert.equal(idOf(inHand), 30);
    assert.equal(first.itemCount, 700);
    if (how === 'closed') await first.close();
    else folder = await kill(first, folder);
    const second = await open(folder, { maxBytes: 1 << 20 });
    assert.equal(second.recovered, 700);
    assert.equal(second.itemCount, 700);
    await append(second, requests(100, 105));
    assert.deepEqual(await drain(second), range(30, 105));
    assert.equal(second.dropped.damaged, 0);
    await second.close();
    const third = await open(folder);
    assert.equal(third.recovered, 0);
    assert.deepEqual(segmentsOf(folder), []);
    await third.close();
  });
}

test('over its bytes the oldest goes, counted to the item, and the newest stays', async () => {
  const folder = newFolder();
  const backlog = await open(folder, { maxBytes: 1 << 20 });
  await append(backlog, requests(0, 1000, 4000));
  assert.ok(backlog.byteLength <= 1 << 20);
  const onDisk = segmentsOf(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  assert.equal(onDisk, backlog.byteLength);
  const ids = await drain(backlog);
  assert.ok(ids.length > 200, `${ids.length}`);
  assert.deepEqual(ids, range(1000 - ids.length, 1000));
  assert.deepEqual(backlog.dropped, { full: (1000 - ids.length) * 10, expired: 0, damaged: 0 });
  await backlog.close();
});

test('a request that is larger than all room is dropped itself', async () => {
  const backlog = await open(newFolder(), { maxBytes: 1 << 20 });
  await append(backlog, [...requests(0, 10), request(10, 2 << 20), request(11)]);
  assert.equal(backlog.dropped.full, 10);
  assert.deepEqual(await drain(backlog), [...range(0, 10), 11]);
  await backlog.close();
});

test('space that is to be left to others is not used', async () => {
  const folder = newFolder();
  const warnings: string[] = [];
  const options = { room: new DiskRoom(folder, 2 ** 60), warn: (message: string) => void warnings.push(message) };
  const backlog = await open(folder, options);
  assert.deepEqual(await append(backlog, requests(0, 3)), []);
  assert.equal(backlog.itemCount, 0);
  assert.equal(warnings.length, 1);
  await backlog.close();
});

test('what is too old is not handed out, also when it waits in hand', async () => {
  const backlog = await open(newFolder(), { maxAgeMs: 1000 });
  await append(backlog, requests(0, 3));
  const inHand = (await backlog.next()) as Handed;
  nowMs += 900;
  await append(backlog, requests(3, 5));
  nowMs += 200;
  backlog.putBack(inHand);
  assert.deepEqual(await drain(backlog), [3, 4]);
  assert.equal(backlog.dropped.expired, 30);
  await backlog.close();
});

test('a request that arrived by other ways is not sent from here', async () => {
  const backlog = await open(newFolder());
  const kept = await append(backlog, requests(0, 5));
  assert.ok(backlog.forget(kept[1] as number, 10));
  assert.equal(backlog.itemCount, 40);
  assert.deepEqual(await drain(backlog), [0, 2, 3, 4]);
  assert.equal(backlog.forget(kept[4] as number, 10), false);
  assert.equal(backlog.itemCount, 0);
  await backlog.close();
});

test('a write that was cut short costs what was being written, nothing else', async () => {
  for (const cut of [1, 39, 41, 1500]) {
    const folder = newFolder();
    const first = await open(folder);
    await append(first, requests(0, 5));
    await first.close();
    const name = segmentsOf(folder)[0] as string;
    truncateSync(join(folder, name), statSync(join(folder, name)).size - cut);
    const second = await open(folder);
    assert.equal(second.recovered, 40);
    await append(second, requests(5, 8));
    assert.deepEqual(await drain(second), [0, 1, 2, 3, 5, 6, 7]);
    assert.deepEqual(second.dropped, { full: 0, expired: 0, damaged: 0 });
    await second.close();
  }
});

test('a segment that somebody deleted is counted to the item', async () => {
  const folder = newFolder();
  const first = await open(folder, { maxBytes: 1 << 20 });
  await append(first, requests(0, 200, 4000));
  await first.close();
  const names = segmentsOf(folder);
  unlinkSync(join(folder, names[2] as string));
  const second = await open(folder, { maxBytes: 1 << 20 });
  const ids = await drain(second);
  assert.ok(second.dropped.damaged > 0);
  assert.equal(ids.length * 10 + second.dropped.damaged, 2000);
  await second.close();
});

test('a position that is damaged sends again, and loses nothing', async () => {
  const folder = newFolder();
  const first = await open(folder);
  await append(first, requests(0, 10));
  for (let i = 0; i < 5; i++) await first.settle((await first.next()) as Handed);
  await first.close();
  writeFileSync(join(folder, 'position'), Buffer.alloc(28, 0xff));
  const second = await open(folder);
  assert.deepEqual(await drain(second), range(0, 10));
  await second.close();
});

test('whatever bytes are damaged, what comes out is unchanged and in order, and the rest is counted', async () => {
  const damage = fc.record({
    at: fc.double({ min: 0, max: 0.9999, noNaN: true }),
    length: fc.integer({ min: 1, max: 6000 }),
    value: fc.integer({ min: 0, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), fc.boolean(), async (damages, isReopened) => {
      const folder = newFolder();
      let backlog = await open(folder);
      await append(backlog, requests(0, 12));
      for (const { at, length, value } of damages) {
        const file = join(folder, segmentsOf(folder)[0] as string);
        const bytes = readFileSync(file);
        const from = Math.floor(at * bytes.length);
        bytes.fill(value, from, Math.min(bytes.length, from + length));
        writeFileSync(file, bytes);
      }
      if (isReopened) {
        await backlog.close();
        backlog = await open(folder);
      }
      await append(backlog, requests(12, 15));
      const ids = await drain(backlog);
      assert.deepEqual(
        ids,
        ids.slice().sort((a, b) => a - b),
      );
      assert.equal(new Set(ids).size, ids.length);
      assert.deepEqual(ids.slice(-3), [12, 13, 14]);
      // A reopened log does not know of requests at its end whose headers are gone.
      const missing = 150 - ids.length * 10;
      if (isReopened) assert.ok(backlog.dropped.damaged <= missing && backlog.dropped.damaged % 10 === 0);
      else assert.equal(backlog.dropped.damaged, missing);
      assert.equal(backlog.itemCount, 0);
      await backlog.close();
    }),
    { numRuns: 60 },
  );
});

test('whatever happens to it, nothing that was accepted is lost uncounted or out of order', async () => {
  type Step = 'append' | 'next' | 'settle' | 'putBack' | 'kill' | 'close';
  const steps = fc.array(
    fc.constantFrom<Step>('append', 'append', 'append', 'next', 'next', 'settle', 'settle', 'putBack', 'kill', 'close'),
    { maxLength: 80 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async run => {
      let folder = newFolder();
      const options = { maxBytes: 1 << 20 };
      let backlog = await open(folder, options);
      let hands: Handed[] = [];
      let appended = 0;
      let dropped = 0;
      const settled = new Set<number>();
      for (const step of run) {
        if (step === 'append') {
          const batch = requests(appended, appended + 5, 12_000);
          appended += (await append(backlog, batch)).length;
        } else if (step === 'next') {
          const handed = await backlog.next();
          if (handed !== null) hands.push(handed);
        } else if (step === 'settle') {
          const handed = hands.shift();
          if (handed === undefined) continue;
          await backlog.settle(handed);
          settled.add(idOf(handed));
        } else if (step === 'putBack') {
          const handed = hands.pop();
          if (handed !== undefined) backlog.putBack(handed);
        } else {
          dropped += backlog.dropped.full + backlog.dropped.damaged;
          if (step === 'close') await backlog.close();
          else folder = await kill(backlog, folder);
          backlog = await open(folder, options);
          hands = [];
        }
        const known = settled.size * 10 + dropped + backlog.dropped.full + backlog.dropped.damaged;
        assert.ok(known + backlog.itemCount >= appended * 10);
      }
      for (const handed of hands) backlog.putBack(handed);
      const rest = await drain(backlog);
      assert.deepEqual(
        rest,
        rest.slice().sort((a, b) => a - b),
      );
      for (const id of rest) settled.add(id);
      assert.ok(settled.size * 10 + dropped + backlog.dropped.full + backlog.dropped.damaged >= appended * 10);
      await backlog.close();
    }),
    { numRuns: 40 },
  );
});
