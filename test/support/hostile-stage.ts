// Where stories are played: the agent, the pair of players, an OTLP receiver, and the judge of what the agent made of it. A
// story with a time that is far off is played again: what the scheduler did to a clock does not repeat, a mistake does.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, collectSpans, startAgent } from './agent.js';
import { distribution, head } from './compare.js';
import type { Segment } from './hostile-network.js';
import { Player, type StoryLog } from './hostile-player.js';
import type { Story } from './hostile-story.js';
import { Judge, type JudgeOptions, type TimingError, type Verdict } from './hostile-truth.js';
import { type OtlpReceiver, startOtlpReceiver } from './otlp-receiver.js';
import { number } from './spans.js';

/** Beyond this a time is wrong. Stories pause for 3 ms and more, so that what is taken for something else shows. */
const FAR_OFF_NS = 2e6;
const PLAYS_MAX = 4;
/** Between stories, so that their times do not touch: a port may come again. */
const PAUSE_MS = 6;
const SELECTION = 'selection:\n  include:\n    - command: "hostile/player[.]py"\n';

export interface StageOptions extends Omit<JudgeOptions, 'segments'> {
  /** Network namespaces of client and server, and the server's address there. */
  readonly namespaces?: readonly [client: string, server: string];
  readonly address?: string;
  /** Asked after the stories: what the network delivered. */
  readonly segments?: () => Promise<readonly Segment[]>;
}

export interface TimingLine {
  readonly what: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly line: string;
}

export class Stage {
  readonly timings: TimingError[] = [];
  readonly #receiver: OtlpReceiver;
  readonly #agent: Agent;
  readonly #player: Player;
  readonly #options: StageOptions;

  private constructor(receiver: OtlpReceiver, agent: Agent, player: Player, options: StageOptions) {
    this.#receiver = receiver;
    this.#agent = agent;
    this.#player = player;
    this.#options = options;
  }

  static async open(options: StageOptions = {}): Promise<Stage> {
    const receiver = await startOtlpReceiver({ grpc: true, http: false });
    const player = new Player(options.namespaces);
    try {
      const agent = await startAgent({ endpoint: receiver.grpcUrl, config: SELECTION });
      return new Stage(receiver, agent, player, options);
    } catch (error) {
      await player.stop();
      await receiver.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#player.stop();
    await this.#agent.stop();
    await this.#receiver.close();
  }

  losses(): Promise<string> {
    return this.#agent.losses();
  }

  /** Plays all stories and asserts that the spans tell what happened. */
  async perform(t: TestContext, stories: readonly Story[]): Promise<void> {
    const wrong: string[] = [];
    let spans = 0;
    let left = stories;
    let replayed = 0;
    for (let play = 1; left.length > 0; play++) {
      const again: Story[] = [];
      for (const { story, verdict } of await this.#playAndJudge(left)) {
        const far = verdict.timings.filter(timing => timing.errorNs > FAR_OFF_NS);
        if (play < PLAYS_MAX && far.length > 0 && verdict.wrong.length === 0) {
          again.push(story);
          t.diagnostic(`played again: ${describeTiming(far[0] as TimingError)}`);
          continue;
        }
        this.timings.push(...verdict.timings);
        wrong.push(...verdict.wrong, ...far.map(describeTiming));
        spans += verdict.spans;
      }
      left = again;
      replayed += again.length;
    }
    t.diagnostic(`${stories.length} stories, ${replayed} played again, ${spans} spans, ${wrong.length} faults`);
    const losses = wrong.length > 0 ? `\n${await this.#agent.losses()}` : '';
    assert.equal(wrong.length, 0, `${head(wrong, 60)}${losses}`);
  }

  async #playAndJudge(stories: readonly Story[]): Promise<{ story: Story; verdict: Verdict }[]> {
    this.#receiver.clear();
    const logs: StoryLog[] = [];
    for (const story of stories) {
      logs.push(await this.#player.play(story, { address: this.#options.address ?? '' }));
      await sleep(PAUSE_MS);
    }
    await sleep(100);
    const count = logs.reduce((sum, log) => sum + Judge.promised(log), 0);
    // The agent may see other players beside ours.
    const ports = new Set(logs.flatMap(log => [log.client.port, log.client.peerPort]));
    await collectSpans(this.#receiver, span => ports.has(number(span, 'network.peer.port')), count, 4000);
    const judgeOptions = { ...this.#options, segments: (await this.#options.segments?.()) ?? [] };
    return logs.map(log => ({
      story: log.story,
      verdict: new Judge(log, judgeOptions).judge(this.#receiver.spans()),
    }));
  }

  overallTiming(): string {
    return `off by ms ${distribution(this.timings.map(one => one.errorNs / 1e6))}`;
  }

  /** How far the times were from the truth, one line for each kind. */
  timingSummary(): TimingLine[] {
    const byKind = new Map<string, TimingError[]>();
    for (const timing of this.timings) {
      const known = byKind.get(timing.what);
      if (known === undefined) byKind.set(timing.what, [timing]);
      else known.push(timing);
    }
    return [...byKind].sort().map(([what, of]) => {
      const errorsMs = of.map(one => one.errorNs / 1e6).sort((a, b) => a - b);
      const worst = of.reduce((a, b) => (b.errorNs > a.errorNs ? b : a));
      return {
        what,
        p50Ms: errorsMs[Math.floor(errorsMs.length * 0.5)] as number,
        p99Ms: errorsMs[Math.floor(errorsMs.length * 0.99)] as number,
        line: `${what}: off by ms ${distribution(errorsMs)}, worst in ${worst.where}`,
      };
    });
  }
}

function describeTiming({ what, where, errorNs }: TimingError): string {
  return `${where}: ${what} is ${(errorNs / 1e6).toFixed(3)} ms off`;
}
