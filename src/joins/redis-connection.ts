// One connection to a Redis or Valkey server: made, lost and made again, with pipelined commands whose replies come in
// order. In: text of commands with what to do with each reply. Out: replies; up and down. Up is a server that takes our
// greeting, which is a write: a replica, a full server or another node of a cluster is found out before anybody waits for it.
// Bounded: at most MAX_IN_FLIGHT commands wait for a reply, beyond that send() refuses; a server that does not reply within
// REPLY_MS is given up. Nothing is queued while there is no connection. In a cluster all keys of ours have one slot: MOVED leads
// to the node that has it. Where a place cannot be used, the next one of the configuration is tried.
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { reasonOf } from '../errors.js';
import { command, type Reply, ReplyError, ReplyReader } from './resp.js';

const CONNECT_MS = 2000;
const REPLY_MS = 1000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 3000;
export const MAX_IN_FLIGHT = 65536;
/** Nodes that send us on to another one, in a row: a cluster that knows itself needs one. */
const MAX_MOVES = 5;

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface RedisSettings {
  /** At least one; further ones are nodes of the same cluster, or replicas that may take over. */
  readonly places: readonly [Place, ...Place[]];
  /** '' without password: no authentication. */
  readonly username: string;
  readonly password: string;
  readonly database: number;
  /** null: in clear text. PEM; undefined: the system's authorities, no certificate of our own. */
  readonly tls: {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
  } | null;
}

export interface RedisEvents {
  onUp(): void;
  /** The connection has gone, or could not be made. */
  onDown(reason: string): void;
  /** So many commands that send() took get no reply. */
  onLost(commands: number): void;
}

/** Replies to the commands of one send(). */
interface Expected {
  readonly count: number;
  readonly sentMs: number;
  readonly onReply: (reply: Reply, index: number) => void;
}

export class RedisConnection {
  readonly #settings: RedisSettings;
  readonly #greeting: string;
  readonly #events: RedisEvents;
  /** Connections in a row that came to nothing: which place is tried next, and when. */
  #failures = 0;
  /** Where a cluster's node sent us, and how many did so in a row. */
  #moved: Place | null = null;
  #moves = 0;
  #socket: Socket | null = null;
  #reader = new ReplyReader();
  #expected: Expected[] = [];
  #answered = 0;
  #inFlight = 0;
  #isUp = false;
  /** The connection is given up for another node's. */
  #isMoving = false;
  #isClosed = false;
  #retry: NodeJS.Timeout | null = null;
  #watch: NodeJS.Timeout | null = null;

  /** @param greeting one command, which writes what the commands of send() write */
  constructor(settings: RedisSettings, greeting: string, events: RedisEvents) {
    this.#settings = settings;
    this.#greeting = greeting;
    this.#events = events;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Host and port without credentials, for people. */
  get place(): string {
    const { host, port } = this.#address();
    return `${host}:${port}`;
  }

  open(): void {
    if (this.#isClosed) return;
    const { host, port } = this.#address();
    const socket = this.#connect(host, port);
    this.#socket = socket;
    this.#reader = new ReplyReader();
    const timer = setTimeout(() => socket.destroy(new Error(`no connection within ${CONNECT_MS} ms`)), CONNECT_MS);
    socket.setNoDelay(true);
    socket.on(this.#settings.tls === null ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer);
      this.#greet();
    });
    socket.on('data', chunk => this.#onData(socket, chunk));
    let reason = 'the connection was closed';
    socket.on('error', error => {
      reason = reasonOf(error);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      this.#onClose(socket, reason);
    });
  }

  /** Sends `count` commands; false where that is not possible now, and then nothing was sent. */
  send(commands: string, count: number, onReply: (reply: Reply, index: number) => void): boolean {
    if (!this.#isUp || this.#inFlight + count > MAX_IN_FLIGHT) return false;
    this.#write(commands, count, onReply);
    return true;
  }

  /** What was sent still leaves. */
  close(): void {
    this.#isClosed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#socket?.destroySoon();
  }

  #address(): Place {
    const { places } = this.#settings;
    return this.#moved ?? places[this.#failures % places.length] ?? places[0];
  }

  #connect(host: string, port: number): Socket {
    const { tls } = this.#settings;
    if (tls === null) return connect({ host, port });
    return connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...tls });
  }

  /** Authenticates, chooses the database, and makes sure that somebody takes what we write. */
  #greet(): void {
    const commands: string[] = [];
    const { username, password, database } = this.#settings;
    if (password !== '')
      commands.push(username === '' ? command('AUTH', password) : command('AUTH', username, password));
    if (database !== 0) commands.push(command('SELECT', String(database)));
    commands.push(this.#greeting);
    const last = commands.length - 1;
    this.#watch ??= setInterval(() => this.#checkReplies(), REPLY_MS / 2);
    this.#watch.unref();
    this.#write(commands.join(''), commands.length, (reply, index) => {
      if (reply instanceof ReplyError) this.#socket?.destroy(new Error(reply.message));
      else if (index === last) {
        this.#isUp = true;
        this.#events.onUp();
      }
    });
  }

  #write(commands: string, count: number, onReply: (reply: Reply, index: number) => void): void {
    this.#expected.push({ count, sentMs: Date.now(), onReply });
    this.#inFlight += count;
    this.#socket?.write(commands);
  }

  #onData(socket: Socket, chunk: Buffer): void {
    if (socket !== this.#socket) return;
    try {
      this.#reader.append(chunk);
      // One reply may end the connection: the others say nothing of use then.
      while (!socket.destroyed) {
        const reply = this.#reader.next();
        if (reply === undefined) return;
        this.#onReply(reply);
      }
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #onReply(reply: Reply): void {
    const expected = this.#expected[0];
    if (expected === undefined) throw new Error('a reply that nobody asked for');
    this.#inFlight--;
    const index = this.#answered++;
    if (this.#answered === expected.count) {
      this.#expected.shift();
      this.#answered = 0;
    }
    if (reply instanceof ReplyError && this.#follow(reply.message)) {
      if (this.#isUp) this.#events.onLost(1);
      return;
    }
    if (this.#isUp) this.#settle();
    expected.onReply(reply, index);
  }

  /** It answers more than greetings: the place stays, and what is counted in a row begins anew. */
  #settle(): void {
    this.#failures %= this.#settings.places.length;
    this.#moves = 0;
  }

  /** `MOVED slot host:port`: the node that has our slot. `READONLY`: what we talk to has become a replica. */
  #follow(message: string): boolean {
    const socket = this.#socket;
    if (message.startsWith('READONLY')) {
      socket?.destroy(new Error(message));
      return true;
    }
    const [, host = '', port = 0] = /^MOVED \d+ (.*):(\d{1,5})$/.exec(message) ?? [];
    if (socket === null || Number(port) < 1 || Number(port) > 65535) return false;
    this.#moves++;
    this.#isMoving = this.#moves <= MAX_MOVES;
    if (this.#isMoving) this.#moved = { host: host === '' ? this.#address().host : host, port: Number(port) };
    socket.destroy(new Error(`the nodes of the cluster send us in a circle: ${message}`));
    return true;
  }

  /** A look after the replies that have come: the main thread may itself have been busy. */
  #checkReplies(): void {
    setImmediate(() => {
      const [oldest] = this.#expected;
      if (oldest === undefined || Date.now() - oldest.sentMs <= REPLY_MS) return;
      this.#socket?.destroy(new Error(`no reply within ${REPLY_MS} ms`));
    });
  }

  #onClose(socket: Socket, reason: string): void {
    if (socket !== this.#socket) return;
    const isMoving = this.#isMoving;
    const lost = this.#isUp ? this.#inFlight : 0;
    this.#isMoving = false;
    this.#socket = null;
    this.#expected = [];
    this.#answered = 0;
    this.#inFlight = 0;
    this.#isUp = false;
    if (lost > 0) this.#events.onLost(lost);
    if (this.#isClosed) return;
    if (!isMoving) {
      this.#events.onDown(reason);
      // A node of a cluster that has gone may have handed its slots on: the configured ones know.
      this.#moved = null;
      this.#moves = 0;
      this.#failures++;
    }
    this.#retry = setTimeout(() => this.open(), isMoving ? 0 : this.#pauseMs());
  }

  /** Longer with each round through the places. */
  #pauseMs(): number {
    const rounds = Math.floor((this.#failures - 1) / this.#settings.places.length);
    return Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(rounds, 16)) * (0.75 + Math.random() / 2);
  }
}
