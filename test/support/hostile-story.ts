// A story: what a client and a server say to each other on one connection, byte for byte, and in which calls. The bytes of
// each direction are given as messages, so that their positions are known; the steps only say how they are cut and when.
// Played by hostile/player.py, judged by hostile-truth.ts.

/** A call of the player: the name of one of its `do_` methods, `thread:` or `child:` before it, and its arguments. */
export type Step = readonly [name: string, ...values: number[]];

/** Attributes that a message gives; those left out are derived from `method`, `path` and the host of `request()`. */
export interface Wanted {
  readonly method: string;
  readonly path: string;
  /** 0: no response head was seen. */
  readonly status: number;
  /** Octets of content; -1: not known, so no attribute. */
  readonly requestBody: number;
  readonly responseBody: number;
  /** `error.type` of a failed connection, by side; '' none beside what the status says. */
  readonly clientError: string;
  readonly serverError: string;
  readonly version: string;
  readonly isRequestTruncated: boolean;
  readonly isResponseTruncated: boolean;
  /** Which side moved bytes of the response inside the kernel. */
  readonly unread: Sidedness | null;
  /** Also its first ones: that side cannot know what the response says. */
  readonly isHeadUnread: boolean;
  /** Both sides moved bytes of the request in a part of a call that is not looked at. */
  readonly isRequestUnread: boolean;
  /** The response lasts until the connection closes: whether the close is a part of it is a matter of taste. */
  readonly endsWithClose: boolean;
  /** So many bytes at the end of `request` went through a tunnel: they count, and are of no message. */
  readonly tunnelBytes: number;
  /** Whole frames of a WebSocket that went in `request` and `response`; null if it is none. */
  readonly frames: Frames | null;
  /** Sides on which a span is promised. */
  readonly sides: readonly Sidedness[];
  /** Expected `url.full`; '' not judged. */
  readonly urlFull: string;
  readonly host: string;
}

export type Sidedness = 'client' | 'server';

export interface Frames {
  readonly asked: number;
  readonly answered: number;
  /** Why a side could not count those of a direction. */
  readonly uncounted?: {
    readonly side: Sidedness | 'both';
    readonly direction: 'asked' | 'answered';
    readonly reason: string;
  };
}

export interface Talk {
  readonly request: Buffer;
  /** Empty: none comes. */
  readonly response: Buffer;
  /** Bytes before the request, or before the response, that belong to no exchange or to an interim response. */
  readonly requestLead: Buffer;
  readonly responseLead: Buffer;
  readonly wanted: Wanted;
}

export interface Story {
  readonly name: string;
  readonly talks: readonly Talk[];
  readonly client: readonly Step[];
  readonly server: readonly Step[];
  readonly family: 'ipv4' | 'ipv6';
  readonly acceptDelayMs: number;
  /** The server accepts through io_uring. */
  readonly isAcceptedByRing: boolean;
  readonly serverReceiveBuffer: number;
  readonly clientSendBuffer: number;
  readonly clientReceiveBuffer: number;
  /** Call counts cannot be told from the log (a call that moves bytes in several pieces, ...). */
  readonly areCallsJudged: boolean;
  /** Requests follow each other strictly: client and server span must then be in one trace. */
  readonly isJoined: boolean;
}

type TalkOptions = Partial<Wanted> & {
  readonly requestLead?: string | Buffer;
  readonly responseLead?: string | Buffer;
};

export const HOST = 'shop.test:8080';

const bytesOf = (text: string | Buffer) => (typeof text === 'string' ? Buffer.from(text, 'utf8') : text);

/** A request and its response. Without options: a plain HTTP/1.1 exchange, as the texts say at first sight. */
export function talk(request: string | Buffer, response: string | Buffer, options: TalkOptions = {}): Talk {
  const { requestLead = '', responseLead = '', ...wanted } = options;
  const [method = '', path = ''] = bytesOf(request).toString('utf8').split(' ', 2);
  const status = Number(/^HTTP\/1\.\d (\d+)/.exec(bytesOf(response).subarray(0, 20).toString('latin1'))?.[1] ?? 0);
  return {
    request: bytesOf(request),
    response: bytesOf(response),
    requestLead: bytesOf(requestLead),
    responseLead: bytesOf(responseLead),
    wanted: {
      method,
      path,
      status,
      requestBody: 0,
      responseBody: status === 0 ? -1 : 0,
      clientError: '',
      serverError: '',
      version: '1.1',
      isRequestTruncated: false,
      isResponseTruncated: false,
      unread: null,
      isHeadUnread: false,
      isRequestUnread: false,
      endsWithClose: false,
      tunnelBytes: 0,
      frames: null,
      sides: ['client', 'server'],
      host: HOST,
      urlFull: `http://${wanted.host ?? HOST}${wanted.path ?? path}`,
      ...wanted,
    },
  };
}

/** A story; without steps the sides take turns: a request is read, and answered, before the next one is sent. */
export function story(name: string, talks: readonly Talk[], options: Partial<Story> = {}): Story {
  return {
    name,
    talks,
    client: talks.flatMap(turnOfClient),
    server: talks.flatMap(turnOfServer),
    family: 'ipv4',
    acceptDelayMs: 0,
    isAcceptedByRing: false,
    serverReceiveBuffer: 0,
    clientSendBuffer: 0,
    clientReceiveBuffer: 0,
    areCallsJudged: true,
    isJoined: options.client === undefined && options.server === undefined,
    ...options,
  };
}

export const requestLength = ({ requestLead, request }: Talk) => requestLead.length + request.length;
export const responseLength = ({ responseLead, response }: Talk) => responseLead.length + response.length;

function turnOfClient(one: Talk): Step[] {
  return [
    ['send', requestLength(one)],
    ['receive', responseLength(one)],
  ];
}

function turnOfServer(one: Talk): Step[] {
  return [
    ['receive', requestLength(one)],
    ['send', responseLength(one)],
  ];
}

/** The same story, told in other calls: `send` and `receive` steps are replaced. */
export function toldBy(
  told: Story,
  manner: string,
  send: (count: number) => Step,
  receive: (count: number) => Step,
): Story {
  const retold = (steps: readonly Step[]) =>
    steps.map(step => {
      const [name, count = 0] = step;
      if (name === 'send') return send(count);
      return name === 'receive' ? receive(count) : step;
    });
  return { ...told, name: `${told.name} (${manner})`, client: retold(told.client), server: retold(told.server) };
}

export function chunked(...chunks: string[]): string {
  return `${chunks.map(chunk => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`;
}

/** A request of method and path with the usual host; `body` gets a Content-Length. */
export function request(method: string, path: string, fields = '', body = ''): string {
  const length = body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${fields}${length}\r\n${body}`;
}

export function response(status: number, body = '', fields = ''): string {
  return `HTTP/1.1 ${status} Reason\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

const FILLER = 'abcdefghijklmnopqrstuvwxyz0123456789';
export const filler = (bytes: number) => FILLER.repeat(Math.ceil(bytes / FILLER.length)).slice(0, bytes);
/** A header field of about so many bytes. */
export const field = (bytes: number) => `X-Filler: ${filler(bytes)}\r\n`;

/** A plain exchange, to see whether a connection is still understood. */
export const AFTER = talk(request('GET', '/after'), response(200, 'x'), { responseBody: 1 });
export const DOWNLOAD = talk(request('GET', '/download'), response(200, filler(300_000)), { responseBody: 300_000 });

/** A frame of a WebSocket with a payload of so many octets, as a client sends it, or a server. */
export function frame(sender: Sidedness, payloadBytes: number, opcode = 1, isLast = true): Buffer {
  const masked = sender === 'client' ? 0x80 : 0;
  const header = Buffer.alloc(payloadBytes > 65535 ? 10 : payloadBytes > 125 ? 4 : 2);
  header[0] = (isLast ? 0x80 : 0) | opcode;
  header[1] = masked | (header.length === 2 ? payloadBytes : header.length === 4 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(payloadBytes, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(payloadBytes), 2);
  return Buffer.concat([header, Buffer.alloc(masked === 0 ? 0 : 4, 0x5a), Buffer.from(filler(payloadBytes))]);
}
