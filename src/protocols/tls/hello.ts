// What the two hello messages say in the clear. In: the body of a ClientHello or ServerHello, whole or cut. Out: the few
// fields that become attributes. Lengths are the wire's and are never trusted: what does not fit is left out.
//
//   hello      u16 version | 32 random | u8 session id | client: u16 suites, u8 compressions; server: u16 suite, u8 compression
//              | u16 extensions: { u16 type | u16 length | data }       (RFC 8446 section 4.1.2, 4.1.3; RFC 5246 section 7.4.1)

const SERVER_NAME = 0;
const ALPN = 16;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;
const NAME_MAX_BYTES = 255;
const OFFERS_MAX = 16;
/** Random of a HelloRetryRequest (RFC 8446 section 4.1.3), its first bytes. */
const RETRY_RANDOM = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

export interface Hello {
  /** The version chosen (server), or the highest that the hello itself names. */
  readonly version: number;
  /** Server: the suite chosen. */
  readonly cipherSuite: number;
  readonly sessionId: string;
  /** Client: `server_name`. */
  readonly serverName: string;
  /** Client: what it offers; server: what it has chosen (TLS 1.2). */
  readonly protocols: readonly string[];
  readonly hasPreSharedKey: boolean;
  /** The server asks for another ClientHello. */
  readonly isRetry: boolean;
}

class Cursor {
  at: number;
  readonly end: number;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = Math.min(end, bytes.length);
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    return this.at < this.end ? (this.bytes[this.at++] as number) : 0;
  }

  u16(): number {
    return this.u8() * 256 + this.u8();
  }

  /** The next `length` bytes, or what there is of them. */
  take(length: number): Cursor {
    const from = this.at;
    this.at = Math.min(this.end, from + length);
    return new Cursor(this.bytes, from, this.at);
  }

  text(): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + this.at, Math.max(0, this.left)).toString('latin1');
  }
}

export function parseHello(bytes: Uint8Array, isClient: boolean): Hello | null {
  const cursor = new Cursor(bytes, 0, bytes.length);
  if (cursor.left < 35) return null;
  let version = cursor.u16();
  const random = cursor.take(32);
  const isRetry = RETRY_RANDOM.every((byte, index) => random.bytes[random.at + index] === byte);
  const id = cursor.take(cursor.u8());
  const sessionId = Buffer.from(id.bytes.subarray(id.at, id.end)).toString('hex');
  let cipherSuite = 0;
  if (isClient) {
    cursor.take(cursor.u16());
    cursor.take(cursor.u8());
  } else {
    cipherSuite = cursor.u16();
    cursor.u8();
  }
  let serverName = '';
  let protocols: readonly string[] = [];
  let hasPreSharedKey = false;
  const extensions = cursor.take(cursor.u16());
  while (extensions.left >= 4) {
    const type = extensions.u16();
    const data = extensions.take(extensions.u16());
    if (type === SERVER_NAME && isClient) serverName = hostName(data);
    else if (type === ALPN) protocols = protocolList(data);
    else if (type === PRE_SHARED_KEY) hasPreSharedKey = true;
    else if (type === SUPPORTED_VERSIONS) version = isClient ? highest(data, version) : data.u16();
  }
  return { version, cipherSuite, sessionId, serverName, protocols, hasPreSharedKey, isRetry };
}

function hostName(data: Cursor): string {
  data.u16();
  if (data.u8() !== 0) return '';
  const name = data.take(Math.min(data.u16(), NAME_MAX_BYTES)).text();
  return /^[\x21-\x7e]+$/.test(name) ? name : '';
}

function protocolList(data: Cursor): string[] {
  const protocols: string[] = [];
  const list = data.take(data.u16());
  while (list.left > 1 && protocols.length < OFFERS_MAX) {
    const name = list.take(list.u8()).text();
    if (/^[\x21-\x7e]+$/.test(name)) protocols.push(name); // what is not text is GREASE (RFC 8701)
  }
  return protocols;
}

function highest(data: Cursor, least: number): number {
  let best = least;
  const list = data.take(data.u8());
  while (list.left >= 2) {
    const version = list.u16();
    if (version <= 0x0304 && version > best) best = version;
  }
  return best;
}
