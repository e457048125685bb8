// Judges the spans of a story by the logs of those who played it. In: both sides' calls with their clocks, and the spans
// that the agent exported for the connection. Out: every difference in a field, every missing or invented span, and how far
// each instant and phase is from the truth. What a process cannot know (when a byte reached the peer's receive queue) is an
// interval: from the entry of the write that sent it to the return of that write, or of the read that took it.
import { deliveries, type Segment } from './hostile-network.js';
import type { Call, SideLog, StoryLog, TcpAccount } from './hostile-player.js';
import { requestLength, responseLength, type Sidedness, type Talk, type Wanted } from './hostile-story.js';
import { CLIENT, type DecodedSpan, describe, flag, INTERNAL, methodOf, number, pidOf, SERVER, text } from './spans.js';

const KNOWN_METHODS = /^(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY)$/;
/** A write of more than this may outlast the arrival of its first bytes, or return before its last ones have arrived. */
const PROMPT_BYTES = 16384;
/** Two ticks of a kernel of 100 Hz, and a look at the clock. */
const FLOW_SLACK_S = 0.025;
const FLOW_WINDOW = 16_384;
/** Spans of a connection begin within its life, give or take this: ports may come again in the next story. */
const CLOCK_SLACK_NS = 2e6;

/** A time between two others; both are the same where it is known. Boot-clock nanoseconds. */
interface Instant {
  readonly from: number;
  readonly to: number;
}

export interface TimingError {
  readonly what: string;
  readonly where: string;
  /** Distance from the truth; 0 inside its interval. */
  readonly errorNs: number;
}

export interface Verdict {
  /** One line each; empty when the spans tell the truth. */
  readonly wrong: readonly string[];
  readonly timings: readonly TimingError[];
  readonly spans: number;
}

export interface JudgeOptions {
  /** Between two hosts, or with delays: bytes arrive some time after the write that sent them has returned. */
  readonly isRemote?: boolean;
  /** What is known of the way between them: when which bytes reached whose kernel. */
  readonly segments?: readonly Segment[];
  /** Round trip time below which no estimate can be. */
  readonly leastRttMs?: number;
}

/** Where a message lies in its direction's bytes. */
interface Extent {
  readonly from: number;
  readonly to: number;
}

interface Phase {
  readonly name: string;
  readonly begin: Instant | null;
  readonly end: Instant | null;
}

export class Judge {
  readonly #log: StoryLog;
  readonly #isRemote: boolean;
  readonly #segments: readonly Segment[];
  readonly #leastRttMs: number;
  readonly #wrong: string[] = [];
  readonly #timings: TimingError[] = [];
  /** Of the client's spans so far. */
  #retransmits = 0;
  #lastEndUnixNs = 0n;
  #areOverlapping = false;

  constructor(log: StoryLog, options: JudgeOptions = {}) {
    this.#log = log;
    this.#isRemote = options.isRemote ?? false;
    this.#segments = options.segments ?? [];
    this.#leastRttMs = options.leastRttMs ?? 0;
  }

  /** Spans that this story promises, connects included. */
  static promised(log: StoryLog): number {
    return 1 + log.story.talks.reduce((sum, one) => sum + one.wanted.sides.length, 0);
  }

  /** Spans that belong to the connection of the story. */
  spansOf(all: readonly DecodedSpan[]): DecodedSpan[] {
    const { client, server } = this.#log;
    const calls = [...client.calls, ...server.calls];
    const from = this.#wallNs(Math.min(...calls.map(call => call.enterNs))) - BigInt(CLOCK_SLACK_NS);
    const to = this.#wallNs(Math.max(...calls.map(call => call.leaveNs))) + BigInt(CLOCK_SLACK_NS);
    return all.filter(
      span =>
        number(span, 'network.peer.port') === (span.kind === SERVER ? client.port : client.peerPort) &&
        span.startUnixNs >= from &&
        span.startUnixNs <= to,
    );
  }

  judge(all: readonly DecodedSpan[]): Verdict {
    const spans = this.spansOf(all);
    this.#judgeConnect(spans.filter(span => span.kind === INTERNAL));
    const left = new Set(spans.filter(span => span.kind !== INTERNAL));
    let requestAt = 0;
    let responseAt = 0;
    for (const [index, one] of this.#log.story.talks.entries()) {
      const asked = { from: requestAt + one.requestLead.length, to: requestAt + requestLength(one) };
      const answered = { from: responseAt + one.responseLead.length, to: responseAt + responseLength(one) };
      requestAt = asked.to;
      responseAt = answered.to;
      const pair = (['client', 'server'] as const).map(side => {
        const kind = side === 'client' ? CLIENT : SERVER;
        const isPromised = one.wanted.sides.includes(side);
        // Behind a request that went unseen there is no index.
        const isThis = (at: number) => at === index + 1 || (isPromised && Number.isNaN(at));
        const found = [...left].find(
          span => span.kind === kind && isThis(number(span, 'underspan.connection.request_index')),
        );
        if (found !== undefined) left.delete(found);
        if (isPromised !== (found !== undefined)) this.#fail(side, index, isPromised ? 'no span' : 'a span');
        if (found !== undefined) this.#judgeSpan(side, index, one, asked, answered, found);
        return found;
      });
      this.#judgeTrace(index, pair[0], pair[1]);
    }
    for (const span of left) this.#wrong.push(`${this.#log.story.name}: not of this story: ${describe(span)}`);
    return { wrong: this.#wrong, timings: this.#timings, spans: spans.length };
  }

  #fail(side: Sidedness, index: number, what: string): void {
    this.#wrong.push(`${this.#log.story.name}, ${side} ${index + 1}: ${what}`);
  }

  #wallNs(bootNs: number): bigint {
    return this.#log.wallMinusBootNs + BigInt(bootNs);
  }

  #judgeConnect(connects: readonly DecodedSpan[]): void {
    const call = this.#log.client.calls.find(one => one.kind === 'connect');
    if (call === undefined || connects.length !== 1) {
      this.#fail('client', 0, `${connects.length} connect spans`);
      return;
    }
    const span = connects[0] as DecodedSpan;
    const within = { from: call.enterNs, to: call.leaveNs };
    this.#compareInstant('connect start', 'client 0', within, span.startUnixNs);
    this.#compareInstant('connect end', 'client 0', within, span.endUnixNs);
  }

  #judgeTrace(index: number, client: DecodedSpan | undefined, server: DecodedSpan | undefined): void {
    if (client === undefined || server === undefined) return;
    const isChild = server.traceId === client.traceId && server.parentSpanId === client.spanId;
    const claims = text(server, 'underspan.parent.evidence') === 'sequence';
    if (claims && !isChild) this.#fail('server', index, `a wrong parent ${server.parentSpanId}`);
    if (isChild && server.startUnixNs < client.startUnixNs) this.#fail('server', index, 'starts before its parent');
    if (this.#log.story.isJoined && !isChild) this.#fail('server', index, 'not a child of the client span');
  }

  #judgeSpan(side: Sidedness, index: number, one: Talk, request: Extent, response: Extent, span: DecodedSpan): void {
    const isServer = side === 'server';
    const { client, server } = this.#log;
    const own = isServer ? server : client;
    const peer = isServer ? client : server;
    // What this side did not move, it has not seen.
    const asked = within(request, movedBytes(own, isServer ? 'receive' : 'send'));
    const answered = within(response, movedBytes(own, isServer ? 'send' : 'receive'));
    // The lead of a response is an interim response: its calls are of the exchange, its bytes and times are not.
    const withInterim = { from: answered.from - one.responseLead.length, to: answered.to };
    const read = isServer ? asked : withInterim;
    const written = isServer ? withInterim : asked;
    const isComplete = answered.to === response.to;
    const seen = isComplete ? {} : { responseBody: -1, ...(answered.to === answered.from ? { status: 0 } : {}) };
    const told = one.wanted.isHeadUnread && one.wanted.unread === side ? { status: 0, responseBody: -1 } : {};
    this.#judgeFields(side, index, { ...one.wanted, ...seen, ...told }, span);
    const expect = (key: string, value: number) => {
      if (number(span, key) !== value) this.#fail(side, index, `${key} ${number(span, key)} instead of ${value}`);
    };
    expect(isServer ? 'underspan.io.read_bytes' : 'underspan.io.write_bytes', asked.to - asked.from);
    expect(isServer ? 'underspan.io.write_bytes' : 'underspan.io.read_bytes', answered.to - answered.from);
    if (this.#log.story.areCallsJudged) {
      expect('underspan.io.read_calls', countCalls(own, 'receive', read));
      expect('underspan.io.write_calls', countCalls(own, 'send', written));
    }
    this.#judgeFrames(side, index, one.wanted, span);
    if (own.facts !== null) this.#judgeFlow(side, index, own.facts, span);
    if (this.#leastRttMs > 0) this.#judgeTcp(side, index, own, span);
    const taker = callAt(own, isServer ? 'receive' : 'send', asked.from);
    if (taker !== null && pidOf(span) !== taker.pid) {
      this.#fail(side, index, `process ${pidOf(span)} instead of ${taker.pid}`);
    }
    const spoken = { from: asked.from, to: asked.to - one.wanted.tunnelBytes };
    this.#judgeTimes(side, index, own, peer, spoken, answered, span);
  }

  /** By TCP's own account, a moment after the last call of the connection's only message. */
  #judgeFlow(side: Sidedness, index: number, facts: TcpAccount, span: DecodedSpan): void {
    const near = (key: string, value: number, tolerance: number) => {
      const found = number(span, key);
      const isAbsent = Number.isNaN(found);
      if (isAbsent ? value > tolerance : Math.abs(found - value) > tolerance) {
        this.#fail(side, index, `${key} ${found} instead of ${value}`);
      }
    };
    near('underspan.tcp.rwnd_limited', facts.rwndMs / 1000, FLOW_SLACK_S);
    near('underspan.tcp.sndbuf_limited', facts.sndbufMs / 1000, FLOW_SLACK_S);
    // What is less than a window may have left between the call and the look.
    if (facts.unsent <= FLOW_WINDOW) return;
    // What went out between the two is on its way: no answer comes that soon.
    const wentOut = number(span, 'underspan.tcp.unsent') - facts.unsent;
    if (!(wentOut >= 0 && wentOut <= facts.unacked)) {
      this.#fail(side, index, `underspan.tcp.unsent ${facts.unsent + wentOut} instead of ${facts.unsent}`);
    }
    near('underspan.tcp.unacked', facts.unacked - wentOut, FLOW_WINDOW);
  }

  #judgeFrames(side: Sidedness, index: number, { frames }: Wanted, span: DecodedSpan): void {
    const missed = [side, 'both'].includes(frames?.uncounted?.side ?? '') ? frames?.uncounted : undefined;
    const of = (direction: 'read' | 'write') => {
      const name = (direction === 'read') === (side === 'server') ? 'asked' : 'answered';
      return frames === null || missed?.direction === name ? Number.NaN : frames[name];
    };
    for (const direction of ['read', 'write'] as const) {
      const found = number(span, `underspan.websocket.${direction}_frames`);
      if (!Object.is(found, of(direction))) {
        this.#fail(side, index, `${found} frames ${direction} instead of ${of(direction)}`);
      }
    }
    const reason = text(span, 'underspan.websocket.uncounted.reason');
    if (reason !== (missed?.reason ?? '')) this.#fail(side, index, `frames are uncounted: "${reason}"`);
  }

  /**
   * TCP facts: the last span of a client is told when nothing of what it sent is under way any more. Each span has what
   * was sent again while it was under way, which is nobody else's unless two were under way at once.
   */
  #judgeTcp(side: Sidedness, index: number, own: SideLog, span: DecodedSpan): void {
    const srttMs = number(span, 'underspan.tcp.srtt') * 1000;
    if (!(srttMs > this.#leastRttMs)) this.#fail(side, index, `underspan.tcp.srtt ${srttMs} ms`);
    if (side === 'server' || own.tcp === null) return;
    const told = number(span, 'underspan.tcp.retransmits');
    this.#retransmits += Number.isNaN(told) ? 0 : told;
    if (span.startUnixNs < this.#lastEndUnixNs) this.#areOverlapping = true;
    this.#lastEndUnixNs = span.endUnixNs;
    const isLast = index + 1 === this.#log.story.talks.length;
    const truth = own.tcp.retransmits;
    if (isLast && (this.#areOverlapping ? this.#retransmits < truth : this.#retransmits !== truth)) {
      this.#fail(side, index, `underspan.tcp.retransmits ${this.#retransmits} in all instead of ${truth}`);
    }
  }

  #judgeFields(side: Sidedness, index: number, wanted: Wanted, span: DecodedSpan): void {
    const isServer = side === 'server';
    const texts: [string, string][] = [
      ['http.request.method', KNOWN_METHODS.test(wanted.method) ? wanted.method : '_OTHER'],
      ['network.protocol.version', wanted.version],
      ['url.path', wanted.path.split('?')[0] as string],
      ['network.transport', 'tcp'],
      ['network.type', this.#log.story.family],
    ];
    if (wanted.host !== '') texts.push(['server.address', wanted.host.split(':')[0] as string]);
    if (!isServer && wanted.urlFull !== '') texts.push(['url.full', wanted.urlFull.split('?')[0] as string]);
    const statusError = wanted.status >= (isServer ? 500 : 400) ? String(wanted.status) : '';
    const error = (isServer ? wanted.serverError : wanted.clientError) || statusError;
    texts.push(['error.type', error]);
    for (const [key, value] of texts) {
      if (text(span, key) !== value) this.#fail(side, index, `${key} "${text(span, key)}" instead of "${value}"`);
    }
    if (methodOf(span) !== wanted.method) this.#fail(side, index, `method ${methodOf(span)} of ${wanted.method}`);
    if ((span.status.code === 2) !== (error !== '')) this.#fail(side, index, `span status ${span.status.code}`);
    const numbers: [string, number][] = [
      ['http.response.status_code', wanted.status === 0 ? Number.NaN : wanted.status],
      ['http.request.body.size', wanted.requestBody < 0 ? Number.NaN : wanted.requestBody],
      ['http.response.body.size', wanted.responseBody < 0 ? Number.NaN : wanted.responseBody],
    ];
    for (const [key, value] of numbers) {
      const found = number(span, key);
      if (!Object.is(found, value)) this.#fail(side, index, `${key} ${found} instead of ${value}`);
    }
    const flags: [string, boolean][] = [
      ['underspan.request.head_truncated', wanted.isRequestTruncated],
      ['underspan.response.head_truncated', wanted.isResponseTruncated],
      ['underspan.response.content_unread', wanted.unread === side],
      ['underspan.request.content_unread', wanted.isRequestUnread],
      ['underspan.connection.reused', index > 0],
    ];
    for (const [key, value] of flags) {
      if ((flag(span, key) ?? false) !== value) this.#fail(side, index, `${key} is not ${value}`);
    }
  }

  // -- times

  #judgeTimes(
    side: Sidedness,
    index: number,
    own: SideLog,
    peer: SideLog,
    asked: Extent,
    answered: Extent,
    span: DecodedSpan,
  ): void {
    const isServer = side === 'server';
    const inKind = 'receive';
    const incoming = isServer ? asked : answered;
    const arrived = this.#arrival(own, peer, incoming.from);
    const taken = leaveOf(callAt(own, inKind, incoming.from));
    const closing =
      this.#log.story.talks[index]?.wanted.endsWithClose === true && !isServer ? this.#ending(own, peer) : null;
    const lastTaken = leaveOf(callAt(own, inKind, incoming.to - 1));
    const allTaken = lastTaken !== null && closing !== null ? { from: lastTaken.from, to: closing.to } : lastTaken;
    const outgoing = isServer ? answered : asked;
    const given = enterOf(callAt(own, 'send', outgoing.from));
    const allGiven = leaveOf(callAt(own, 'send', outgoing.to - 1));
    const isAnswered = answered.to > answered.from;
    const phases: Phase[] = isServer
      ? [
          { name: 'receive.wait', begin: arrived, end: taken },
          { name: 'request.read', begin: taken, end: allTaken },
          { name: 'processing', begin: allTaken, end: isAnswered ? given : null },
          { name: 'response.write', begin: isAnswered ? given : null, end: allGiven },
        ]
      : [
          { name: 'request.write', begin: given, end: allGiven },
          { name: 'response.wait', begin: allGiven, end: isAnswered ? arrived : null },
          { name: 'receive.wait', begin: isAnswered ? arrived : null, end: taken },
          { name: 'response.read', begin: taken, end: allTaken },
        ];
    const isCut = (isServer ? this.#log.story.talks[index]?.wanted.serverError : this.#clientError(index)) !== '';
    const where = `${side} ${index + 1}`;
    const wanted = (this.#log.story.talks[index] as Talk).wanted;
    const known = !isCut ? phases : wanted.requestBody < 0 ? [] : phases.slice(0, 2);
    for (const phase of known) this.#comparePhase(phase, where, span);
    if (index === 0) this.#judgeOpening(isServer, where, span);
    const start = isServer ? arrived : given;
    if (start !== null) this.#compareInstant(`${side} start`, where, start, span.startUnixNs);
    if (isCut) {
      const end = this.#ending(own, peer);
      if (end !== null) this.#compareInstant(`${side} failed end`, where, end, span.endUnixNs);
      return;
    }
    if (wanted.status === 101 || (wanted.method === 'CONNECT' && wanted.status < 300)) {
      const end = this.#ending(own, peer);
      if (end !== null) this.#compareInstant(`${side} end of a tunnel`, where, end, span.endUnixNs);
      return;
    }
    const ends = [isServer ? allGiven : allTaken, isServer ? allTaken : allGiven];
    const last = ends.reduce((a, b) => (a === null || (b !== null && b.to > a.to) ? b : a), null);
    if (last !== null) this.#compareInstant(`${side} end`, where, last, span.endUnixNs);
  }

  #clientError(index: number): string {
    return this.#log.story.talks[index]?.wanted.clientError ?? '';
  }

  #judgeOpening(isServer: boolean, where: string, span: DecodedSpan): void {
    const connect = this.#log.client.calls.find(call => call.kind === 'connect') as Call;
    const accept = this.#log.server.calls.find(call => call.kind === 'accept') as Call;
    if (isServer && this.#log.story.isAcceptedByRing) {
      if (span.attributes.has('underspan.accept.wait'))
        this.#wrong.push(`${where}: an accept that was not seen is timed`);
    } else if (isServer) {
      const established = { from: connect.enterNs, to: Math.min(accept.leaveNs, this.#lateBy(connect.leaveNs)) };
      this.#comparePhase({ name: 'accept.wait', begin: established, end: leaveOf(accept) }, where, span);
    } else {
      this.#comparePhase({ name: 'connect.duration', begin: enterOf(connect), end: leaveOf(connect) }, where, span);
    }
  }

  /** Between hosts, what follows from a call may come at any time after it. */
  #lateBy(ns: number): number {
    return this.#isRemote ? Number.MAX_SAFE_INTEGER : ns;
  }

  /** When the byte at `position`, sent by `peer`, reached the receive queue of `own`. */
  #arrival(own: SideLog, peer: SideLog, position: number): Instant | null {
    const sent = callAt(peer, 'send', position);
    const taken = callAt(own, 'receive', position);
    if (sent === null || taken === null) return null;
    if (this.#segments.length > 0) {
      const delivery = deliveries(this.#segments, peer.port, own.port).find(one => one.end > position);
      if (delivery === undefined) throw new Error(`${this.#log.story.name}: byte ${position} was not delivered`);
      return { from: delivery.enterNs, to: Math.min(delivery.leaveNs, taken.leaveNs) };
    }
    const isPrompt = !this.#isRemote && sent.bytes <= PROMPT_BYTES;
    return { from: sent.enterNs, to: isPrompt ? Math.min(sent.leaveNs, taken.leaveNs) : taken.leaveNs };
  }

  /** When a failed exchange ended: some time between the peer's end and our learning of it, or in our own ending call. */
  #ending(own: SideLog, peer: SideLog): Instant | null {
    const last = own.calls.find(call => /^(eof|error|close)/.test(call.kind));
    if (last === undefined) return null;
    const cause = peer.calls.find(call => /^(error|close|shutdown)/.test(call.kind));
    return { from: Math.min(last.enterNs, cause?.enterNs ?? last.enterNs), to: last.leaveNs };
  }

  #compareInstant(what: string, where: string, truth: Instant, wallNs: bigint): void {
    const ns = Number(wallNs - this.#log.wallMinusBootNs);
    this.#timings.push({ what, where: this.#where(where), errorNs: distance(ns, truth) });
  }

  #comparePhase({ name, begin, end }: Phase, where: string, span: DecodedSpan): void {
    if (begin === null || end === null) return;
    const truth = { from: end.from - begin.to, to: end.to - begin.from };
    const ns = number(span, `underspan.${name}`) * 1e9;
    const what = `${where.split(' ')[0]} ${name}`;
    // A phase that is absent counts as one that lasted nothing.
    const told = Number.isNaN(ns) ? Math.min(0, truth.to) : ns;
    this.#timings.push({ what, where: this.#where(where), errorNs: distance(told, truth) });
  }

  #where(where: string): string {
    return `${this.#log.story.name}, ${where}`;
  }
}

/** The call of a kind that moved the byte at `position` of its direction; null if none did. */
function callAt(side: SideLog, kind: string, position: number): Call | null {
  let at = 0;
  for (const call of side.calls) {
    if (call.kind !== kind) continue;
    at += call.bytes;
    if (at > position) return call;
  }
  return null;
}

/** Calls that moved at least one byte of [from, to). */
function countCalls(side: SideLog, kind: string, { from, to }: Extent): number {
  let at = 0;
  let count = 0;
  for (const call of side.calls) {
    if (call.kind !== kind) continue;
    if (at < to && at + call.bytes > from) count++;
    at += call.bytes;
  }
  return count;
}

/** Bytes that a side moved in all. */
function movedBytes(side: SideLog, kind: string): number {
  return side.calls.reduce((sum, call) => (call.kind === kind ? sum + call.bytes : sum), 0);
}

function within({ from, to }: Extent, bytes: number): Extent {
  return { from: Math.min(from, bytes), to: Math.min(to, bytes) };
}

function enterOf(call: Call | null): Instant | null {
  return call === null ? null : { from: call.enterNs, to: call.enterNs };
}

function leaveOf(call: Call | null): Instant | null {
  return call === null ? null : { from: call.leaveNs, to: call.leaveNs };
}

function distance(ns: number, { from, to }: Instant): number {
  return Math.max(0, from - ns, ns - to);
}
