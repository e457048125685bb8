// FastCGI for tests: records built by hand, what servers of the field have said, and a sink that writes down what a parser
// finds, one line each.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as type from '../../src/protocols/fastcgi/record.js';
import { fastcgi } from '../../src/protocols/fastcgi.js';
import type { MessageHead, MessageParser, MessageSink } from '../../src/protocols/protocol.js';

export { type };

export function fcgi(kind: number, content: string | Uint8Array = '', id = 1, padding = 0): Buffer {
  const bytes = Buffer.from(content as string);
  const header = [1, kind, id >> 8, id & 255, bytes.length >> 8, bytes.length & 255, padding, 0];
  return Buffer.concat([Buffer.from(header), bytes, Buffer.alloc(padding)]);
}

export function begin({ id = 1, role = type.ROLE_RESPONDER, flags = 0 } = {}): Buffer {
  return fcgi(type.BEGIN_REQUEST, Uint8Array.of(0, role, flags, 0, 0, 0, 0, 0), id);
}

export function end({ id = 1, status = 0, appStatus = 0 } = {}): Buffer {
  const content = Buffer.alloc(8);
  content.writeUInt32BE(appStatus, 0);
  content[4] = status;
  return fcgi(type.END_REQUEST, content, id);
}

function length(value: number): Buffer {
  if (value < 128) return Buffer.from([value]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value + 0x80000000);
  return bytes;
}

export function pairs(values: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(values).map(([name, value]) => {
    const [key, text] = [Buffer.from(name), Buffer.from(value)];
    return Buffer.concat([length(key.length), length(text.length), key, text]);
  });
  return Buffer.concat(parts);
}

/** A whole request. */
export function request(values: Readonly<Record<string, string>>, body = '', id = 1, flags = 0): Buffer {
  const stdin = body === '' ? [] : [fcgi(type.STDIN, body, id)];
  const params = [fcgi(type.PARAMS, pairs(values), id), fcgi(type.PARAMS, '', id)];
  return Buffer.concat([begin({ id, flags }), ...params, ...stdin, fcgi(type.STDIN, '', id)]);
}

export interface RecordedConversation {
  readonly title: string;
  readonly requests: Buffer;
  readonly responses: Buffer;
  /** In the order in which they were said. */
  readonly turns: readonly { readonly isRequest: boolean; readonly bytes: Buffer }[];
}

/** test/fixtures/fastcgi/recorded.md */
export function recordedConversations(): RecordedConversation[] {
  const text = readFileSync('test/fixtures/fastcgi/recorded.md', 'utf8');
  return text
    .split(/^## /m)
    .slice(1)
    .map(section => {
      const title = section.slice(0, section.indexOf('\n'));
      const turns = [...section.matchAll(/```(request|response)\n([0-9a-f\n]*)```/g)].map(([, who, hex = '']) => ({
        isRequest: who === 'request',
        bytes: Buffer.from(hex.replaceAll('\n', ''), 'hex'),
      }));
      assert.ok(turns.length > 0, title);
      const of = (isRequest: boolean): Buffer =>
        Buffer.concat(turns.filter(turn => turn.isRequest === isRequest).map(({ bytes }) => bytes));
      return { title, requests: of(true), responses: of(false), turns };
    });
}

export class LoggingSink implements MessageSink {
  readonly lines: string[] = [];
  readonly heads: Readonly<Omit<MessageHead, 'clear'>>[] = [];
  /** Request ids whose responses are due, in their order. */
  due: number[] = [];

  onMessageStart(position: number): void {
    this.lines.push(`start ${position}`);
  }

  onHead(head: MessageHead): void {
    this.heads.push({ ...head });
    const what = head.isRequest ? `${head.method} ${head.target}` : String(head.status);
    this.lines.push(`head ${head.headEnd} ${what}${head.isTruncated ? ' truncated' : ''}`);
  }

  onMessageEnd(position: number, bodyBytes: number): void {
    this.due.shift();
    this.lines.push(`end ${position} body=${bodyBytes}`);
  }

  onOutcome(error: string, exitStatus: number): void {
    this.lines.push(`outcome ${error} ${exitStatus}`);
  }

  requestMethod(): string {
    return '';
  }

  requestId(): number {
    return this.due[0] ?? -1;
  }
}

export interface Reading {
  readonly sink: LoggingSink;
  readonly parser: MessageParser;
  readonly results: number[];
}

/** Feeds pieces in their order; a number is that many bytes that were not captured. */
export function read(
  isRequest: boolean,
  pieces: readonly (Uint8Array | number)[],
  due: readonly number[] = [],
): Reading {
  const sink = new LoggingSink();
  sink.due = [...due];
  const parser = isRequest ? fastcgi.createRequestParser(sink) : fastcgi.createResponseParser(sink);
  const results: number[] = [];
  let position = 0;
  for (const piece of pieces) {
    if (typeof piece === 'number') {
      results.push(parser.skip(piece, position));
      position += piece;
      continue;
    }
    // Not at the beginning of their memory, as in a batch.
    const bytes = Buffer.concat([Buffer.alloc(3, 1), piece, Buffer.alloc(3, 1)]);
    results.push(parser.feed(bytes, 3, 3 + piece.length, position));
    position += piece.length;
  }
  return { sink, parser, results };
}
