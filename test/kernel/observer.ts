// Loads and attaches the probes for a test, selects one driver process (test/kernel/driver.py) and keeps every record as
// a plain object. What the driver says it did is compared with what the records say; the streams are put together again
// from the captured bytes by sequence number, which finds a wrong position wherever it is.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readPeer } from '../../src/connections/connection.js';
import type { Peer } from '../../src/exchanges/exchange.js';
import { Drain } from '../../src/kernel/drain.js';
import { Kernel } from '../../src/kernel/loader.js';
import type { WayName } from '../../src/kernel/probes.js';
import { Dispatcher, type RecordHandler } from '../../src/records/dispatch.js';
import * as gen from '../../src/records/records.gen.js';

const DATA_RING_BYTES = 8 << 20;
const CONTROL_RING_BYTES = 1 << 20;
const HEAD_BYTES = 16384;
/** The kernel matrix (test/kernels) runs these tests once for each way. */
const FRONT_END = (process.env.UNDERSPAN_TEST_FRONT_END ?? null) as WayName | null;
/** An emulated machine is slow by this factor. */
const PATIENCE = Number(process.env.UNDERSPAN_TEST_PATIENCE ?? 1);
export const SETTLE_MS = 50 * PATIENCE;
const SELECTED = { include: 1, exclude: 0 };

/** Values of a cursor's getters. */
type Values<C> = { readonly [K in keyof C as C[K] extends number ? K : never]: number };
export type DataRecord = Values<gen.DataEventCursor> & { readonly payload: Buffer };
export type OpenedRecord = Values<gen.ConnectionOpenedEventCursor> & { readonly peer: Peer; readonly path: string };
export type StateRecord = Values<gen.ConnectionStateEventCursor>;
export type ClosedRecord = Values<gen.ConnectionClosedEventCursor>;
export type FailedRecord = Values<gen.ConnectFailedEventCursor> & { readonly peer: Peer };

/** One side of a connection as the driver tells of it. */
export interface Side {
  readonly name: string;
  readonly pid: number;
  readonly local: number;
  readonly remote: number;
  /** '' if they are too many to be told. */
  readonly sent: Buffer;
  readonly got: Buffer;
  readonly sentBytes: number;
  readonly gotBytes: number;
  /** Calls that moved bytes. */
  readonly writes: number;
  readonly reads: number;
  readonly [fact: string]: unknown;
}

/** A socket's life in records. */
export interface Life {
  readonly opened: OpenedRecord;
  readonly data: readonly DataRecord[];
  readonly states: readonly StateRecord[];
  readonly closed: ClosedRecord | null;
}

function values<C extends object>(cursor: C): Values<C> {
  const names = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(cursor)))
    .filter(([, descriptor]) => descriptor.get !== undefined)
    .map(([name]) => name);
  return Object.fromEntries(names.map(name => [name, cursor[name as keyof C]])) as unknown as Values<C>;
}

class Keeper implements RecordHandler {
  readonly data: DataRecord[] = [];
  readonly opened: OpenedRecord[] = [];
  readonly states: StateRecord[] = [];
  readonly closed: ClosedRecord[] = [];
  readonly failed: FailedRecord[] = [];
  readonly processes: { readonly kind: string; readonly pid: number; readonly args: readonly string[] }[] = [];

  onData(event: gen.DataEventCursor, bytes: Uint8Array, payload: number): void {
    this.data.push({ ...values(event), payload: Buffer.from(bytes.slice(payload, payload + event.chunkBytes)) });
  }
  onOpened(event: gen.ConnectionOpenedEventCursor): void {
    const from = event.view.byteOffset + event.at + event.pathOffset;
    const path = Buffer.from(event.view.buffer, from, event.pathBytes).toString('latin1');
    this.opened.push({ ...values(event), path, peer: readPeer(event.view, event.at + event.addressLocalOffset) });
  }
  onState(event: gen.ConnectionStateEventCursor): void {
    this.states.push(values(event));
  }
  onClosed(event: gen.ConnectionClosedEventCursor): void {
    this.closed.push(values(event));
  }
  onConnectFailed(event: gen.ConnectFailedEventCursor): void {
    this.failed.push({ ...values(event), peer: readPeer(event.view, event.at + event.addressLocalOffset) });
  }
  onExec(event: gen.ProcessExecEventCursor, bytes: Uint8Array): void {
    const from = event.at + gen.ProcessExecEventCursor.SIZE;
    const args = Buffer.from(bytes.slice(from, from + event.argsBytes))
      .toString()
      .split('\0')
      .slice(0, -1);
    this.processes.push({ kind: 'exec', pid: event.pid, args });
  }
  onFork(event: gen.ProcessForkEventCursor): void {
    this.processes.push({ kind: 'fork', pid: event.pid, args: [] });
  }
  onExit(event: gen.ProcessExitEventCursor): void {
    this.processes.push({ kind: 'exit', pid: event.pid, args: [] });
  }
  onWork(): void {}
  onWake(): void {}
  onProgress(): void {
    throw new Error('the kernel makes no progress records');
  }
  onLost(): void {
    throw new Error('the kernel does not know what it has lost');
  }
}

export class Observer {
  readonly kernel: Kernel;
  records = new Keeper();
  readonly #drain: Drain;
  #dispatcher = new Dispatcher(this.records);
  #lossesBefore: Readonly<Record<string, number>> = {};
  readonly #clock = new Float64Array(5);

  constructor(dataRingBytes = DATA_RING_BYTES, controlRingBytes = CONTROL_RING_BYTES, seats?: number) {
    this.kernel = Kernel.load({
      dataRingBytes,
      controlRingBytes,
      maxConnections: 4096,
      headBytes: HEAD_BYTES,
      btfPath: '',
      agentPid: process.pid,
      way: FRONT_END,
      ...(seats === undefined ? {} : { seats }),
    });
    this.kernel.filter.setDefaults({ include: 0, exclude: 0 }, SELECTED);
    this.#drain = new Drain(this.kernel, dataRingBytes, controlRingBytes);
  }

  /** Boot clock, nanoseconds. */
  now(): number {
    this.kernel.clock(this.#clock);
    return (this.#clock[0] as number) * 1e9 + (this.#clock[1] as number);
  }

  /** Forgets what was seen. */
  restart(): void {
    this.kernel.filter.setDefaults({ include: 0, exclude: 0 }, SELECTED);
    this.drain();
    this.#lossesBefore = this.#allLosses();
    this.records = new Keeper();
    this.#dispatcher = new Dispatcher(this.records);
  }

  drain(): void {
    this.#drain.run(this.now(), ({ cutNs }) => {
      this.#dispatcher.run(this.#drain.data, this.#drain.control, cutNs);
    });
    assert.equal(this.#dispatcher.malformed, 0);
  }

  /** What the kernel counted as lost since the restart, by cause, zeros left out. */
  losses(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.#allLosses())
        .map(([cause, count]) => [cause, count - (this.#lossesBefore[cause] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
  }

  #allLosses(): Record<string, number> {
    const counters = new Float64Array(gen.LOSS_COUNT + gen.STAT_COUNT);
    this.kernel.readCounters(counters);
    return Object.fromEntries(
      Array.from({ length: gen.LOSS_COUNT }, (_, cause) => [
        gen.EVENT_LOSS_NAMES[cause] as string,
        counters[cause] as number,
      ]),
    );
  }

  /** Whether calls are seen in the socket layer: a call there for each message of sendmmsg. */
  get watchesLayer(): boolean {
    return this.kernel.reports.some(({ way }) => way === 'fentry' || way === 'kprobe');
  }

  /** The life of the socket that a side tells of. Fails unless there is exactly one. */
  lifeOf(side: Side): Life {
    const found = this.records.opened.filter(
      ({ peer }) => peer.localPort === side.local && peer.remotePort === side.remote,
    );
    assert.equal(found.length, 1, `${found.length} connections announced for ${side.name}`);
    return this.lifeFrom(found[0] as OpenedRecord);
  }

  lifeFrom(opened: OpenedRecord): Life {
    const isIts = (record: { readonly slot: number; readonly generation: number }): boolean =>
      record.slot === opened.slot && record.generation === opened.generation;
    const closed = this.records.closed.filter(isIts);
    assert.ok(closed.length <= 1, 'closed twice');
    return {
      opened,
      data: this.records.data.filter(isIts),
      states: this.records.states.filter(isIts),
      closed: closed[0] ?? null,
    };
  }

  close(): void {
    this.kernel.close();
  }
}

/** A driver that waits for its signal to go. */
export class Driver {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Buffer[] = [];

  constructor(scenario: string) {
    this.#child = spawn('/usr/bin/python3', ['test/kernel/driver.py', scenario], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => this.#errors.push(chunk));
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async ready(): Promise<void> {
    const { value } = await this.#lines.next();
    assert.equal(value, 'ready', Buffer.concat(this.#errors).toString());
  }

  /** Lets it go; what it tells, and then its end. */
  async run(): Promise<Side[]> {
    const exited = new Promise<number | null>(resolve => this.#child.once('close', resolve));
    this.#child.stdin?.write('go\n');
    const sides: Side[] = [];
    for (let line = await this.#lines.next(); line.done !== true; line = await this.#lines.next()) {
      const told = JSON.parse(line.value) as Side & { readonly sent?: string; readonly got?: string };
      sides.push({
        ...told,
        sent: Buffer.from((told.sent as unknown as string | undefined) ?? '', 'hex'),
        got: Buffer.from((told.got as unknown as string | undefined) ?? '', 'hex'),
      });
    }
    const code = await exited;
    assert.equal(code, 0, Buffer.concat(this.#errors).toString());
    return sides;
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }
}

let shared: Observer | null = null;
after(() => shared?.close());

/** One set of probes for all scenarios of a file: to load them takes longer than most scenarios. */
function sharedObserver(): Observer {
  if (shared === null) {
    shared = new Observer();
    shared.kernel.attach();
  }
  shared.restart();
  return shared;
}

/** Runs a scenario under observation and hands its account and the records to `check`. */
export async function observe(
  scenario: string,
  check: (observer: Observer, sides: readonly Side[]) => void | Promise<void>,
  observer = sharedObserver(),
): Promise<void> {
  const driver = new Driver(scenario);
  try {
    await driver.ready();
    observer.kernel.filter.setProcess(driver.pid, SELECTED.include, SELECTED.exclude);
    const running = driver.run();
    let isRunning = true;
    const done = running.finally(() => {
      isRunning = false;
    });
    while (isRunning) {
      observer.drain();
      await Promise.race([done, sleep(20)]);
    }
    const sides = await done;
    await sleep(SETTLE_MS); // the last sockets are taken down after their process
    observer.drain();
    await check(observer, sides);
  } finally {
    driver.kill();
    observer.kernel.filter.removeProcess(driver.pid);
  }
}

/** Puts one direction together again. Fails on a gap, an overlap, or two records that disagree. */
export function streamOf(data: readonly DataRecord[], direction: number): { bytes: Buffer; calls: number } {
  const records = data.filter(
    record => record.direction === direction && (record.flags & (gen.DATA_EOF | gen.DATA_ERROR)) === 0,
  );
  const parts: Buffer[] = [];
  let next = records[0]?.seq ?? 0;
  let calls = 0;
  for (const record of records) {
    assert.equal(record.seq, next, `position of call ${calls} of direction ${direction}`);
    const isWhole = (record.flags & gen.DATA_MORE) === 0;
    assert.equal(
      record.payload.length,
      isWhole ? record.callBytes : record.chunkBytes,
      'not all of the call is captured',
    );
    parts.push(record.payload);
    next = (next + record.payload.length) >>> 0;
    if (isWhole) calls++;
  }
  return { bytes: Buffer.concat(parts), calls };
}

/** Every byte and every call of a side is in the records, at its place; the closed record's sums are the same. */
export function assertSame(life: Life, side: Side): void {
  const written = streamOf(life.data, gen.DIRECTION_EGRESS);
  const taken = streamOf(life.data, gen.DIRECTION_INGRESS);
  assert.equal(written.bytes.toString('latin1'), side.sent.toString('latin1'), `${side.name}: sent`);
  assert.equal(taken.bytes.toString('latin1'), side.got.toString('latin1'), `${side.name}: received`);
  assert.equal(written.calls, side.writes, `${side.name}: calls that wrote`);
  assert.equal(taken.calls, side.reads, `${side.name}: calls that read`);
  assertSums(life, side);
}

export function assertSums(life: Life, side: Side): void {
  const { closed } = life;
  assert.ok(closed !== null, `${side.name} was not closed`);
  assert.deepEqual(
    [closed.bytesEgress, closed.bytesIngress, closed.callsEgress, closed.callsIngress],
    [side.sentBytes, side.gotBytes, side.writes, side.reads],
    `${side.name}: sums of the closed record`,
  );
}
