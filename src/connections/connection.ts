// All state of one connection: identity, addresses, its two streams, the protocol spoken, the times of the bytes at hand.
// Small on purpose: parsers and exchanges hold state only while a message is under way.
import type { Exchange, Peer } from '../exchanges/exchange.js';
import type { Matcher } from '../exchanges/matcher.js';
import type { MessageHead } from '../protocols/protocol.js';
import {
  CONNECTION_PREEXISTING,
  CONNECTION_TLS,
  CONNECTION_UNIX,
  DIRECTION_INGRESS,
  ROLE_UNKNOWN,
} from '../records/records.gen.js';
import type { ClientSight } from '../traces/client-sight.js';
import type { TraceContext } from '../traces/context.js';
import type { CallCount } from '../traces/process-work.js';
import type { Slice } from '../traces/slice.js';
import { Stream } from './stream.js';
import { TcpFacts } from './tcp-facts.js';
import type { TlsWatch } from './tls-watch.js';
import { Tunnel } from './tunnel.js';

/** Who ended a connection, and how: the first FIN or reset. */
export type ConnectionEnd = '' | 'fin_sent' | 'fin_received' | 'reset_sent' | 'reset_received';

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_UNIX = 1;

export class Connection {
  readonly slot: number;
  readonly generation: number;
  readonly ingress = new Stream();
  readonly egress = new Stream();
  /** enum event_role; learnt from the protocol when the connection is older than the agent. */
  role: number = ROLE_UNKNOWN;
  /** The role under which it was counted as open. */
  openedRole: number = ROLE_UNKNOWN;
  /** Selectors whose port criteria it meets. */
  include = 0xffffffff;
  exclude = 0;
  /** Bytes that metrics have been told of. */
  reportedIn = 0;
  reportedOut = 0;
  /** enum event_connection_flag */
  flags = 0;
  /** Who opened it. */
  pid = 0;
  openedNs = 0;
  /** A client's socket was made. */
  createdNs = 0;
  connectNs = 0;
  establishedNs = 0;
  acceptedNs = 0;
  peer: Peer = NO_PEER;

  /** Pairs requests with responses; null while no protocol is known. */
  matcher: Matcher | null = null;
  /** Name of the protocol, '' while none is known. */
  protocolName = '';
  /** Direction in which requests go, enum event_direction. */
  requestDirection: number = DIRECTION_INGRESS;
  /** Both streams stand at positions that are understood. */
  isSynced = false;
  /** What it has become after CONNECT or 101, whose bytes are no messages; null as long as it speaks its protocol. */
  tunnel: Tunnel | null = null;
  /** Metrics count it as open. */
  isCounted = false;
  /** User space told the kernel to stop sending data. */
  isIgnored = false;
  /** It pipelines: user space told the kernel to capture every call. */
  isStreamed = false;
  /** What it sends failed to parse too often: its bytes and times are counted, nothing else. */
  isGivenUp = false;
  /** Responses still to come, while not synced, to requests that have been counted as dropped. */
  countedAnswers = 0;
  /** Data records that found the ring full, and edges among them (modulo 2^16), as far as they have been accounted for. */
  lostRecords = 0;
  lostEdgesIngress = 0;
  lostEdgesEgress = 0;
  /** Why bytes are missing, if the record at hand shows that some are. */
  gapCause: 'gap' | 'ring_full' = 'gap';
  /** Lost edges that were requests if the connection turns out to speak a known protocol. */
  lostRequests = 0;
  /** Edges whose first bytes were no known protocol's. */
  strangeEdges = 0;
  /** Messages that a parser gave up. */
  brokenMessages = 0;
  /** Listed with those that wait for bytes the kernel does not announce. */
  isAwaited = false;
  /** Of a TLS session: the connection of its socket, null while that is not known. */
  carrier: Connection | null = null;
  /** The handshake that it began with, or that its socket began with; null if it speaks no TLS or is older than the agent. */
  tls: TlsWatch | null = null;
  /** A session is read whose socket this is. */
  isCarrier = false;

  // -- the bytes at hand
  firstNs = 0;
  takenNs = 0;
  lastNs = 0;
  /** When a read ended the stream, a call failed or the socket closed: until then a failed exchange lasted. */
  endedNs = 0;
  otherSeq = 0;
  /** Sequence number of the first byte at hand, and its position in its stream. */
  seq = 0;
  seqPosition = 0;
  tid = 0;
  ioPid = 0;
  pairTag = 0;
  readonly tcp = new TcpFacts();

  // -- what exchanges need from the connection's life
  exchangeCount = 0;
  /** No request of it has gone unseen: `exchangeCount` is how many there were. */
  isEachSeen = true;
  /** The thread that took the last request; calls of the process to this peer; what it was opened for, until it is used. */
  takerTid = 0;
  peerCalls: CallCount | null = null;
  openedFor: Slice | null = null;
  /** The one that is not idle meanwhile: whom it was opened for, or is supposed to be. */
  connectCaller: Exchange | null = null;
  /** Of a server, from its first request on: is its client observed on this host? */
  clientSight: ClientSight | null = null;
  /** The request for which another thread of Java, that is not the one that sends, has connected. */
  askedFor: Exchange | null = null;
  /** Calls of a loop on it that have been responded to lately. */
  responded: Exchange[] = [];
  connectTrace: TraceContext | null = null;
  connectSpan0 = 0;
  connectSpan1 = 0;
  /** `error.type` of a failed call, '' if none. */
  errorType = '';
  /** What began its end, and when, as far as is known. */
  end: ConnectionEnd = '';
  endNs = 0;

  constructor(slot: number, generation: number) {
    this.slot = slot;
    this.generation = generation;
  }

  /** What is sent first on a connection that the process has opened itself. */
  get isFirstCall(): boolean {
    return this.exchangeCount === 1 && this.connectNs > 0;
  }

  get isOpaque(): boolean {
    return this.tunnel !== null;
  }

  get isPreexisting(): boolean {
    return (this.flags & CONNECTION_PREEXISTING) !== 0;
  }

  get isUnix(): boolean {
    return (this.flags & CONNECTION_UNIX) !== 0;
  }

  /** A TLS session: its bytes are plaintext. */
  get isSession(): boolean {
    return (this.flags & CONNECTION_TLS) !== 0;
  }

  /** For people: what it spoke as far as is known. */
  get protocol(): string {
    if (this.isGivenUp) return 'not parsed';
    if (this.protocolName !== '') return this.protocolName;
    return this.strangeEdges > 0 ? 'unknown' : '';
  }

  openTunnel(head: MessageHead): void {
    this.tunnel = new Tunnel(head);
  }

  /** The request that this session's socket was opened for is what the session is for, if it has sent nothing so far. */
  takeConnect(carrier: Connection): void {
    if (this.exchangeCount > 0 || (this.openedFor?.request ?? null) !== null || this.connectCaller !== null) return;
    this.openedFor = carrier.openedFor;
    this.connectCaller = carrier.connectCaller;
    carrier.openedFor = carrier.connectCaller = null;
  }

  noteEnd(end: ConnectionEnd, ns: number): void {
    if (this.end !== '') return;
    this.end = end;
    this.endNs = ns;
  }

  stream(direction: number): Stream {
    return direction === DIRECTION_INGRESS ? this.ingress : this.egress;
  }

  get requestStream(): Stream {
    return this.stream(this.requestDirection);
  }

  get responseStream(): Stream {
    return this.requestDirection === DIRECTION_INGRESS ? this.egress : this.ingress;
  }
}

export const NO_PEER: Peer = {
  remoteAddress: '',
  remotePort: 0,
  localAddress: '',
  localPort: 0,
  transport: 'tcp',
  networkType: '',
};

/** Text form of an event_address (bpf/event.h) at `at`. */
export function readPeer(view: DataView, at: number): Peer {
  const family = view.getUint16(at + 36, true);
  if (family === AF_UNIX) return { ...NO_PEER, transport: 'unix', networkType: '' };
  // A TLS session of which no socket is known.
  if (family === AF_UNSPEC) return NO_PEER;
  const isIpv4 = family === AF_INET;
  return {
    localAddress: isIpv4 ? ipv4(view, at) : ipv6(view, at),
    remoteAddress: isIpv4 ? ipv4(view, at + 16) : ipv6(view, at + 16),
    localPort: view.getUint16(at + 32, true),
    remotePort: view.getUint16(at + 34, true),
    transport: 'tcp',
    networkType: isIpv4 ? 'ipv4' : 'ipv6',
  };
}

/** Peer of a unix socket: the name belongs to the listening side. An abstract name is written with a leading `@`. */
export function unixPeer(path: string, isClient: boolean): Peer {
  const name = path.startsWith('\0') ? `@${path.slice(1)}` : (path.split('\0')[0] as string);
  const peer: Peer = { ...NO_PEER, transport: 'unix', networkType: '' };
  return isClient ? { ...peer, remoteAddress: name } : { ...peer, localAddress: name };
}

/** Texts of addresses that were seen lately, by their low bits: each would be a string of its own, once for every connection. */
const KNOWN_ADDRESSES = 256;
const knownAddresses = new Uint32Array(KNOWN_ADDRESSES);
const knownTexts: string[] = Array.from({ length: KNOWN_ADDRESSES }, () => '0.0.0.0');

function ipv4(view: DataView, at: number): string {
  const address = view.getUint32(at, false);
  const index = (address ^ (address >>> 8)) & (KNOWN_ADDRESSES - 1);
  if (knownAddresses[index] !== address) {
    knownAddresses[index] = address;
    knownTexts[index] = ipv4Text(view, at);
  }
  return knownTexts[index] as string;
}

function ipv4Text(view: DataView, at: number): string {
  return `${view.getUint8(at)}.${view.getUint8(at + 1)}.${view.getUint8(at + 2)}.${view.getUint8(at + 3)}`;
}

/** RFC 5952: lower case, no leading zeros, the longest run of zero groups as `::`. */
function ipv6(view: DataView, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(at + index * 2, false));
  let best = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > bestLength) {
      best = start;
      bestLength = length;
    }
  }
  const text = (part: readonly number[]) => part.map(group => group.toString(16)).join(':');
  return best < 0 ? text(groups) : `${text(groups.slice(0, best))}::${text(groups.slice(best + bestLength))}`;
}
