// Stories that a seed makes up: some exchanges of any sizes, one after the other or several at a time, cut anywhere into calls
// of all kinds, with pauses anywhere. What README names as a limit is left out: what lies behind the captured head of a chunked
// body, bodies in pipelines, pipelines of more than 64 KiB.
import {
  chunked,
  field,
  filler,
  request,
  requestLength,
  response,
  responseLength,
  type Step,
  type Story,
  story,
  type Talk,
  talk,
} from './hostile-story.js';
import { Random } from './random.js';

const WITH_BODY = ['POST', 'PUT'];
const METHODS = ['GET', 'GET', 'GET', 'HEAD', 'DELETE', ...WITH_BODY, 'POST'];
/** The kernel's programs look for these where requests may follow each other. */
const PIPELINED = ['GET', 'GET', 'GET', 'HEAD'];
const STATUSES = [200, 200, 200, 201, 404, 500, 204, 304, 302];
const CHUNKED_MAX = 2000;
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
/** Calls of one step at most: each has a clock read before and after it. */
const CALLS_MAX = 40;
/** More than a scheduler's whim, in milliseconds. */
const PAUSE = [3, 6] as const;

class Author {
  readonly #random: Random;
  readonly #seed: number;
  readonly #isPipelined: boolean;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#isPipelined = this.#random.isTrueIn(40);
  }

  write(families: readonly Story['family'][]): Story {
    const random = this.#random;
    const count = this.#isPipelined ? random.between(2, 40) : random.between(1, 8);
    const talks = Array.from({ length: count }, (_, index) => this.#talk(index));
    const client: Step[] = [];
    const server: Step[] = [];
    for (let at = 0; at < count; ) {
      const together = this.#isPipelined ? random.between(1, 15) : 1;
      const some = talks.slice(at, at + together);
      at += together;
      const asked = some.reduce((sum, one) => sum + requestLength(one), 0);
      const answered = some.reduce((sum, one) => sum + responseLength(one), 0);
      client.push(
        ...this.#cut(asked, count => this.#send(count)),
        ...this.#cut(answered, count => this.#receive(count)),
      );
      server.push(...this.#cut(asked, count => this.#receive(count)), ...this.#pause(40));
      server.push(...this.#cut(answered, count => this.#send(count)));
      client.push(...this.#pause(30));
    }
    if (random.isTrueIn(50)) {
      client.push(['close']);
      server.push(['receive_eof'], ['close']);
    }
    return story(`made up by ${this.#seed}${this.#isPipelined ? ', pipelined' : ''}`, talks, {
      client,
      server,
      family: random.pick(families),
      isJoined: !this.#isPipelined,
      acceptDelayMs: random.isTrueIn(20) ? random.between(3, 10) : 0,
    });
  }

  #talk(index: number): Talk {
    const random = this.#random;
    const method = random.pick(this.#isPipelined ? PIPELINED : METHODS);
    const path = `/made-up/${this.#seed}/${index}`;
    const fields = random.isTrueIn(50) ? field(random.between(0, 1200)) : '';
    const body = WITH_BODY.includes(method) ? this.#size(60_000) : 0;
    const isChunked = body > 0 && body <= CHUNKED_MAX && random.isTrueIn(50);
    const asked = isChunked
      ? request(method, path, fields + CHUNKED) + this.#chunks(body)
      : request(method, path, fields, filler(body));
    return talk(asked, ...this.#answer(method, body));
  }

  #answer(method: string, requestBody: number): [text: string, wanted: { requestBody: number; responseBody: number }] {
    const random = this.#random;
    const status = random.pick(STATUSES);
    const fields = random.isTrueIn(30) ? field(random.between(0, 800)) : '';
    const head = `HTTP/1.1 ${status} Reason\r\n${fields}`;
    if (status === 204 || status === 304) return [`${head}\r\n`, { requestBody, responseBody: 0 }];
    if (method === 'HEAD')
      return [`${head}Content-Length: ${random.between(0, 5000)}\r\n\r\n`, { requestBody, responseBody: 0 }];
    const responseBody = this.#isPipelined ? random.between(0, 900) : this.#size(200_000);
    if (responseBody > 0 && responseBody <= CHUNKED_MAX && random.isTrueIn(40))
      return [`${head}${CHUNKED}\r\n${this.#chunks(responseBody)}`, { requestBody, responseBody }];
    return [response(status, filler(responseBody), fields), { requestBody, responseBody }];
  }

  /** Small ones more often than large ones. */
  #size(most: number): number {
    return this.#random.between(0, this.#random.pick([20, 2000, 2000, 10_000, most]));
  }

  #chunks(bytes: number): string {
    const chunks: string[] = [];
    for (let left = bytes; left > 0; ) {
      const length = Math.min(left, this.#random.between(1, 700));
      chunks.push(filler(length));
      left -= length;
    }
    return chunked(...chunks);
  }

  #pause(percent: number): Step[] {
    return this.#random.isTrueIn(percent) ? [['sleep', this.#random.between(...PAUSE)]] : [];
  }

  #cut(bytes: number, step: (count: number) => Step): Step[] {
    const steps: Step[] = [];
    for (let left = bytes; left > 0; ) {
      const count = this.#random.isTrueIn(60) ? left : this.#random.between(1, left);
      steps.push(step(count));
      left -= count;
      if (left > 0) steps.push(...this.#pause(40));
    }
    return steps;
  }

  #send(count: number): Step {
    const name = this.#random.pick([
      'send',
      'send',
      'send',
      'write',
      'writev',
      'sendmsg',
      'send_pieces',
      'send_nonblocking',
    ]);
    return name === 'writev' || name === 'sendmsg' || name === 'send_pieces'
      ? [name, count, this.#piece(count)]
      : [name, count];
  }

  #receive(count: number): Step {
    const name = this.#random.pick(['receive', 'receive', 'receive', 'read', 'readv', 'recvmsg']);
    if (name === 'receive' && this.#random.isTrueIn(50)) return [name, count];
    return name === 'read' ? [name, count] : [name, count, this.#piece(count)];
  }

  #piece(count: number): number {
    return Math.max(this.#random.between(2, 4000), Math.ceil(count / CALLS_MAX));
  }
}

/** The stories of seeds `from` to `from + count - 1`. */
export function madeUp(from: number, count: number, families: readonly Story['family'][] = ['ipv4', 'ipv6']): Story[] {
  return Array.from({ length: count }, (_, index) => new Author(from + index).write(families));
}
