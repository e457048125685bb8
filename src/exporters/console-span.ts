// What the terminal view knows of a span: the few facts that a line shows, taken from a decoded OTLP span once. Comes
// in: otlp/decoded.ts. Goes out: plain values with defaults, times in nanoseconds; texts are still as they were sent.
// Attributes by the OpenTelemetry semantic conventions 1.45 and our own (signals/semconv.ts). Lost: other attributes.
import type { DecodedAttributes, DecodedSpan } from '../otlp/decoded.js';
import { AttributeKeys, type ScannedSpan, scanAttributes } from '../otlp/scan.js';
import {
  ACCEPT_WAIT,
  CONNECT_DURATION,
  CONNECTION_REQUEST_INDEX,
  CONNECTION_REUSED,
  ERROR_TYPE,
  HTTP_REQUEST_METHOD,
  HTTP_REQUEST_METHOD_ORIGINAL,
  HTTP_RESPONSE_STATUS_CODE,
  HTTP_ROUTE,
  IO_READ_BYTES,
  IO_WRITE_BYTES,
  NETWORK_PEER_ADDRESS,
  NETWORK_PEER_PORT,
  PROCESSING,
  RECEIVE_WAIT,
  REQUEST_HEAD_TRUNCATED,
  REQUEST_READ,
  REQUEST_WRITE,
  RESPONSE_HEAD_TRUNCATED,
  RESPONSE_READ,
  RESPONSE_WAIT,
  RESPONSE_WRITE,
  SERVER_ADDRESS,
  SERVER_PORT,
  SOCKET_CONNECT_SPAN_NAME,
  TCP_RETRANSMITS,
  TCP_RWND_LIMITED,
  TCP_SNDBUF_LIMITED,
  URL_FULL,
  URL_PATH,
} from '../signals/semconv.js';
import type { Phase } from './console-style.js';

/** OTLP SpanKind. */
export const SPAN_SERVER = 2;
export const SPAN_CLIENT = 3;
const STATUS_ERROR = 2;

/** A part of the socket timeline, in the order of time. */
export interface PhaseSpan {
  readonly phase: Phase;
  readonly ns: number;
}

/** What the filters of the command line look at, read without decoding the span. */
export interface SpanFacts {
  /** `url.path` (SERVER) or the path of `url.full` (CLIENT); '' if neither is there. */
  readonly path: string;
  /** 0: no response. */
  readonly status: number;
  readonly durationNs: number;
  /**
   * Remote port of a client; of a server the port that its Host header names, as its own is not on the span; of a
   * handshake the server's. 0: none.
   */
  readonly port: number;
}

export interface SpanView extends SpanFacts {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly kind: number;
  readonly service: string;
  readonly name: string;
  readonly method: string;
  readonly route: string;
  /** `host:port` that the span is about: server.address, else the peer; '' if unknown. */
  readonly authority: string;
  readonly isConnect: boolean;
  readonly isFailed: boolean;
  readonly errorType: string;
  readonly startUnixNs: bigint;
  /** Connect before the span's start, if it was this request's; 0 otherwise. */
  readonly connectNs: number;
  readonly acceptWaitNs: number;
  readonly receiveWaitNs: number;
  readonly phases: readonly PhaseSpan[];
  /** -1: not known, as for the bytes. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly isReused: boolean;
  /** 0: not known. */
  readonly requestIndex: number;
  readonly retransmits: number;
  readonly rwndLimitedNs: number;
  readonly sndbufLimitedNs: number;
  readonly isHeadTruncated: boolean;
  /** Spans that this one points at, as `traceId/spanId`: the connect that it used. */
  readonly links: readonly string[];
}

const FACT_KEYS = new AttributeKeys([
  URL_PATH.name,
  URL_FULL.name,
  HTTP_RESPONSE_STATUS_CODE.name,
  SERVER_PORT.name,
  NETWORK_PEER_PORT.name,
]);

export function toSpanFacts(span: ScannedSpan): SpanFacts {
  const at = scanAttributes(span, FACT_KEYS);
  return {
    path: textOf(at, URL_PATH.name) || pathOfUrl(textOf(at, URL_FULL.name)),
    status: numberOf(at, HTTP_RESPONSE_STATUS_CODE.name, 0),
    durationNs: span.durationNs,
    port: portOf(at, span.kind),
  };
}

const SERVER_PHASES: readonly (readonly [string, Phase])[] = [
  [RECEIVE_WAIT.name, 'queue'],
  [REQUEST_READ.name, 'request'],
  [PROCESSING.name, 'work'],
  [RESPONSE_WRITE.name, 'response'],
];
const CLIENT_PHASES: readonly (readonly [string, Phase])[] = [
  [REQUEST_WRITE.name, 'request'],
  [RESPONSE_WAIT.name, 'wait'],
  [RECEIVE_WAIT.name, 'queue'],
  [RESPONSE_READ.name, 'response'],
];

export function toSpanView(span: DecodedSpan): SpanView {
  const at = span.attributes;
  const isServer = span.kind === SPAN_SERVER;
  const read = numberOf(at, IO_READ_BYTES.name, -1);
  const written = numberOf(at, IO_WRITE_BYTES.name, -1);
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    kind: span.kind,
    service: textOf(span.resource.attributes, 'service.name') || '?',
    name: span.name,
    method: textOf(at, HTTP_REQUEST_METHOD_ORIGINAL.name) || textOf(at, HTTP_REQUEST_METHOD.name),
    path: textOf(at, URL_PATH.name) || pathOfUrl(textOf(at, URL_FULL.name)),
    route: textOf(at, HTTP_ROUTE.name),
    authority: authorityOf(at),
    port: portOf(at, span.kind),
    isConnect: span.name === SOCKET_CONNECT_SPAN_NAME,
    isFailed: span.status.code === STATUS_ERROR,
    status: numberOf(at, HTTP_RESPONSE_STATUS_CODE.name, 0),
    errorType: textOf(at, ERROR_TYPE.name),
    startUnixNs: span.startUnixNs,
    durationNs: Math.max(0, Number(span.endUnixNs - span.startUnixNs)),
    connectNs: nanosOf(at, CONNECT_DURATION.name),
    acceptWaitNs: nanosOf(at, ACCEPT_WAIT.name),
    receiveWaitNs: nanosOf(at, RECEIVE_WAIT.name),
    phases: phasesOf(at, isServer ? SERVER_PHASES : CLIENT_PHASES),
    requestBytes: isServer ? read : written,
    responseBytes: isServer ? written : read,
    isReused: at.get(CONNECTION_REUSED.name) === true,
    requestIndex: numberOf(at, CONNECTION_REQUEST_INDEX.name, 0),
    retransmits: numberOf(at, TCP_RETRANSMITS.name, 0),
    rwndLimitedNs: nanosOf(at, TCP_RWND_LIMITED.name),
    sndbufLimitedNs: nanosOf(at, TCP_SNDBUF_LIMITED.name),
    isHeadTruncated: at.get(REQUEST_HEAD_TRUNCATED.name) === true || at.get(RESPONSE_HEAD_TRUNCATED.name) === true,
    links: span.links.map(link => `${link.traceId}/${link.spanId}`),
  };
}

function phasesOf(attributes: DecodedAttributes, table: readonly (readonly [string, Phase])[]): PhaseSpan[] {
  const phases: PhaseSpan[] = [];
  for (const [key, phase] of table) {
    const ns = nanosOf(attributes, key);
    if (ns > 0) phases.push({ phase, ns });
  }
  return phases;
}

function authorityOf(attributes: DecodedAttributes): string {
  const server = textOf(attributes, SERVER_ADDRESS.name);
  const address = server || textOf(attributes, NETWORK_PEER_ADDRESS.name);
  const port = numberOf(attributes, server === '' ? NETWORK_PEER_PORT.name : SERVER_PORT.name, 0);
  if (address === '' || port === 0) return address;
  return address.includes(':') && !address.startsWith('[') ? `[${address}]:${port}` : `${address}:${port}`;
}

function portOf(attributes: DecodedAttributes, kind: number): number {
  const named = numberOf(attributes, SERVER_PORT.name, 0);
  const ofPeer = numberOf(attributes, NETWORK_PEER_PORT.name, 0);
  if (kind === SPAN_SERVER) return named;
  return (kind === SPAN_CLIENT && ofPeer > 0) || named === 0 ? ofPeer : named;
}

/** Path of an absolute URL without query and fragment; '' if there is none. Not `new URL`: it would rewrite the path. */
function pathOfUrl(url: string): string {
  const authority = url.indexOf('://');
  if (authority < 0) return '';
  const from = url.indexOf('/', authority + 3);
  if (from < 0) return '/';
  const end = url.slice(from).search(/[?#]/);
  return end < 0 ? url.slice(from) : url.slice(from, from + end);
}

function textOf(attributes: DecodedAttributes, key: string): string {
  const value = attributes.get(key);
  return typeof value === 'string' ? value : '';
}

function numberOf(attributes: DecodedAttributes, key: string, absent: number): number {
  const value = attributes.get(key);
  return typeof value === 'number' ? value : absent;
}

/** Nanoseconds of an attribute in seconds; 0 if it is absent. */
function nanosOf(attributes: DecodedAttributes, key: string): number {
  return Math.max(0, numberOf(attributes, key, 0) * 1e9);
}
