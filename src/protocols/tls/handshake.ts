// A TLS handshake as the wire shows it, whichever library makes it (RFC 8446, RFC 5246). In: the bytes of both directions from
// the first record on. Out: what was agreed, when it began and when it was done, or the alert that ended it.
//
//   record     u8 content type | u16 0x0301..0x0304 | u16 length | payload
//
// TLS 1.2 is done when both sides have sent a record behind their ChangeCipherSpec, 1.3 when the client has sent its first
// encrypted record (its Finished). That record has 19 bytes if it is an alert: then the client has refused the server.
import { type Hello, parseHello } from './hello.js';
import { alertName, cipherName, versionName } from './names.js';

export const HANDSHAKE_UNDER_WAY = 0;
export const HANDSHAKE_DONE = 1;
export const HANDSHAKE_FAILED = 2;
/** Bytes are missing, or it is no TLS. */
export const HANDSHAKE_LOST = 3;

const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
const FATAL = 2;
/** An encrypted alert of TLS 1.3: 2 bytes, its type, the tag. */
const ENCRYPTED_ALERT_BYTES = 19;
const RECORD_MAX_BYTES = 16384 + 2048;
/** Of a hello: what is behind that is not looked at. */
const HELLO_MAX_BYTES = 4096;

/** Could a connection begin with these bytes of a TLS record? */
export function looksLikeHandshake(bytes: Uint8Array, from: number, to: number): boolean {
  return to - from >= 3 && bytes[from] === HANDSHAKE && bytes[from + 1] === 3 && (bytes[from + 2] as number) <= 4;
}

/** One direction: where records begin. */
class Side {
  readonly header = new Uint8Array(HEADER_BYTES);
  headerBytes = 0;
  /** Payload of the record under way that is still to come. */
  left = 0;
  /** Beginning of a hello or an alert, while it is read. */
  held: Uint8Array = new Uint8Array(0);
  heldBytes = 0;
  type = 0;
  hasChanged = false;
  hasFinished = false;
  /** The first encrypted record of TLS 1.3. */
  encryptedBytes = 0;
}

export class TlsHandshake {
  state: 0 | 1 | 2 | 3 = HANDSHAKE_UNDER_WAY;
  startNs = 0;
  endNs = 0;
  /** '1.3' and so on, '' while it is not agreed. */
  version = '';
  cipher = '';
  serverName = '';
  /** `tls.next_protocol`: what was agreed where that can be seen (TLS 1.2), or the only one offered. */
  nextProtocol = '';
  /** What the client offered by ALPN. */
  offeredProtocols: readonly string[] = [];
  /** An earlier session was taken up again. */
  isResumed = false;
  /** Name of the alert, '' if none was seen. */
  alert = '';
  readonly #client = new Side();
  readonly #server = new Side();
  #clientHello: Hello | null = null;
  #isVersion13 = false;

  /** Bytes of one side in order. */
  feed(isClient: boolean, bytes: Uint8Array, from: number, to: number, timeNs: number): void {
    const side = isClient ? this.#client : this.#server;
    if (this.startNs === 0) this.startNs = timeNs;
    let at = from;
    while (at < to && this.state === HANDSHAKE_UNDER_WAY) {
      if (side.left > 0) {
        const take = Math.min(side.left, to - at);
        this.#hold(side, bytes, at, at + take);
        side.left -= take;
        at += take;
        if (side.left === 0) this.#recordEnded(side, isClient, timeNs);
        continue;
      }
      side.header[side.headerBytes++] = bytes[at++] as number;
      if (side.headerBytes === HEADER_BYTES) this.#recordBegan(side);
    }
  }

  /** Bytes of one side are missing: inside a record they do not matter, elsewhere all is lost. */
  skip(isClient: boolean, count: number, timeNs: number): void {
    const side = isClient ? this.#client : this.#server;
    if (count < side.left) side.left -= count;
    else if (count === side.left && count > 0) {
      side.left = 0;
      this.#recordEnded(side, isClient, timeNs);
    } else if (count > 0 && side !== this.#server) this.state = HANDSHAKE_LOST;
    else if (count > 0) {
      // A certificate chain behind the captured head: the next flight begins with a record again.
      side.left = 0;
      side.headerBytes = 0;
    }
  }

  /** A run begins, with a record. */
  restart(isClient: boolean): void {
    const side = isClient ? this.#client : this.#server;
    if (side.left > 0 && side.heldBytes === 0) side.left = 0;
  }

  #recordBegan(side: Side): void {
    const [type, major] = side.header;
    const length = (side.header[3] as number) * 256 + (side.header[4] as number);
    side.headerBytes = 0;
    if ((type as number) < CHANGE_CIPHER_SPEC || (type as number) > APPLICATION_DATA || major !== 3) {
      this.state = HANDSHAKE_LOST;
      return;
    }
    if (length > RECORD_MAX_BYTES || length === 0) {
      this.state = HANDSHAKE_LOST;
      return;
    }
    side.type = type as number;
    side.left = length;
    side.heldBytes = 0;
    if (type === APPLICATION_DATA && side.encryptedBytes === 0) side.encryptedBytes = length;
    const isOfInterest = !side.hasChanged && (type === ALERT || (type === HANDSHAKE && this.version === ''));
    side.held = isOfInterest ? new Uint8Array(Math.min(length, HELLO_MAX_BYTES)) : new Uint8Array(0);
  }

  #hold(side: Side, bytes: Uint8Array, from: number, to: number): void {
    const room = side.held.length - side.heldBytes;
    if (room <= 0) return;
    const part = bytes.subarray(from, Math.min(to, from + room));
    side.held.set(part, side.heldBytes);
    side.heldBytes += part.length;
  }

  #recordEnded(side: Side, isClient: boolean, timeNs: number): void {
    if (side.type === ALERT && !side.hasChanged) this.#onAlert(side, timeNs);
    else if (side.type === HANDSHAKE && side.hasChanged) side.hasFinished = true;
    else if (side.type === HANDSHAKE) this.#onMessage(side, isClient);
    else if (side.type === CHANGE_CIPHER_SPEC) side.hasChanged = !this.#isVersion13;
    else if (side.type === APPLICATION_DATA) this.#onEncrypted(side, isClient, timeNs);
    if (side.held.length > 0) side.held = new Uint8Array(0);
    if (this.#client.hasFinished && this.#server.hasFinished) this.#end(HANDSHAKE_DONE, timeNs);
  }

  #onAlert(side: Side, timeNs: number): void {
    const [level, description] = side.held;
    if (side.heldBytes < 2 || (level !== FATAL && description !== 0)) return;
    this.alert = alertName(description as number);
    this.#end(HANDSHAKE_FAILED, timeNs);
  }

  #onMessage(side: Side, isClient: boolean): void {
    if (side.heldBytes <= MESSAGE_HEADER_BYTES) return;
    const type = side.held[0];
    const body = side.held.subarray(MESSAGE_HEADER_BYTES, side.heldBytes);
    if (isClient && type === CLIENT_HELLO) this.#onClientHello(parseHello(body, true));
    else if (!isClient && type === SERVER_HELLO) this.#onServerHello(parseHello(body, false));
  }

  #onClientHello(hello: Hello | null): void {
    if (hello === null) return;
    this.#clientHello = hello;
    this.serverName = hello.serverName;
    this.offeredProtocols = hello.protocols;
  }

  #onServerHello(hello: Hello | null): void {
    if (hello === null || hello.isRetry) return;
    const offer = this.#clientHello;
    this.#isVersion13 = hello.version === 0x0304;
    this.version = versionName(hello.version);
    this.cipher = cipherName(hello.cipherSuite);
    // TLS 1.3 always echoes the session id; 1.2 does so only to resume.
    this.isResumed = this.#isVersion13
      ? hello.hasPreSharedKey
      : hello.sessionId !== '' && hello.sessionId === offer?.sessionId;
    const chosen = hello.protocols[0];
    if (chosen !== undefined) this.nextProtocol = chosen;
    else if (this.#isVersion13 && offer?.protocols.length === 1) this.nextProtocol = offer.protocols[0] as string;
  }

  #onEncrypted(side: Side, isClient: boolean, timeNs: number): void {
    if (!this.#isVersion13 || !isClient) return;
    if (side.encryptedBytes === ENCRYPTED_ALERT_BYTES) {
      this.alert = 'encrypted_alert';
      this.#end(HANDSHAKE_FAILED, timeNs);
    } else this.#end(HANDSHAKE_DONE, timeNs);
  }

  /** The connection is over before the handshake was. */
  close(timeNs: number): void {
    if (this.state === HANDSHAKE_UNDER_WAY) this.#end(HANDSHAKE_FAILED, timeNs);
  }

  #end(state: 1 | 2, timeNs: number): void {
    this.state = state;
    this.endNs = timeNs;
  }
}
