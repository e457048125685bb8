// Runs hostile/player.py: stories go in one by one, the logs of both sides come back. The player is one process for the
// client and one for the server for all stories, so that both are known to the agent before the first.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import type { Story } from './hostile-story.js';

const PYTHON = '/usr/bin/python3';
export const PLAYER = path.resolve('test/support/hostile/player.py');
const STORY_TIMEOUT_MS = 30_000;

/** One call: its kind, bytes, boot-clock nanoseconds right before and right after it, and who made it. */
export interface Call {
  readonly kind: string;
  readonly bytes: number;
  readonly enterNs: number;
  readonly leaveNs: number;
  readonly pid: number;
}

export interface TcpAccount {
  readonly rwndMs: number;
  readonly sndbufMs: number;
  readonly unsent: number;
  readonly unacked: number;
}

export interface SideLog {
  readonly pid: number;
  readonly port: number;
  readonly peerPort: number;
  readonly calls: readonly Call[];
  /** Bytes that the steps did not send. */
  readonly unsent: number;
  /** The script itself went wrong: the story proves nothing. */
  readonly failure: string;
  /** TCP's own account at the last `facts` step. */
  readonly facts: TcpAccount | null;
  /** TCP_INFO at the end, null if the socket was closed by then. */
  /** Retransmits since the handshake. */
  readonly tcp: { readonly retransmits: number; readonly rttUs: number } | null;
}

export interface StoryLog {
  readonly story: Story;
  /** CLOCK_REALTIME minus CLOCK_BOOTTIME. */
  readonly wallMinusBootNs: bigint;
  readonly client: SideLog;
  readonly server: SideLog;
}

type RawSide = Omit<SideLog, 'calls'> & { log: [string, number, number, number, number][] };

export class Player {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #stderr = '';

  /** `namespaces`: names of network namespaces for client and server. */
  constructor(namespaces: readonly [client: string, server: string] = ['', '']) {
    this.#child = spawn(PYTHON, ['-u', PLAYER, ...namespaces], { detached: true });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#lines = readline.createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    process.once('exit', this.#kill);
  }

  readonly #kill = () => {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    process.kill(-this.#child.pid, 'SIGKILL');
  };

  /** Plays one story to its end. */
  async play(story: Story, addresses = { address: '' }): Promise<StoryLog> {
    const joined = (parts: readonly Buffer[]) => Buffer.concat(parts).toString('hex');
    const line = JSON.stringify({
      ...story,
      ...addresses,
      talks: undefined,
      requestBytes: joined(story.talks.flatMap(one => [one.requestLead, one.request])),
      responseBytes: joined(story.talks.flatMap(one => [one.responseLead, one.response])),
    });
    this.#child.stdin.write(`${line}\n`);
    const timer = setTimeout(this.#kill, STORY_TIMEOUT_MS);
    const answer = await this.#lines.next();
    clearTimeout(timer);
    if (answer.done === true) throw new Error(`the player ended in "${story.name}": ${this.#stderr}`);
    const raw = JSON.parse(answer.value) as { wallMinusBootNs: number; client: RawSide; server: RawSide };
    for (const side of ['client', 'server'] as const) {
      const { failure, unsent } = raw[side];
      if (failure !== '') throw new Error(`"${story.name}", ${side}: ${failure}\n${JSON.stringify(raw)}`);
      if (unsent !== 0) throw new Error(`"${story.name}", ${side}: ${unsent} bytes of the story were not sent`);
    }
    return {
      story,
      wallMinusBootNs: BigInt(/"wallMinusBootNs": (\d+)/.exec(answer.value)?.[1] as string),
      client: sideLog(raw.client),
      server: sideLog(raw.server),
    };
  }

  async stop(): Promise<void> {
    process.off('exit', this.#kill);
    const ended = new Promise(resolve => this.#child.once('close', resolve));
    this.#child.stdin.end();
    const timer = setTimeout(this.#kill, 5000);
    await ended;
    clearTimeout(timer);
  }
}

function sideLog({ log, ...rest }: RawSide): SideLog {
  return {
    ...rest,
    calls: log.map(([kind, bytes, enterNs, leaveNs, pid]) => ({ kind, bytes, enterNs, leaveNs, pid })),
  };
}
