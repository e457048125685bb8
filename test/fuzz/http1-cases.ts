// Reads the protocol cases of test/fixtures/http1/*.md. A case is a heading, prose, a block of input and a block of what
// is expected of it:
//
//   ## Title
//   ```request [finish]              or   ```response GET,HEAD [finish]
//   GET / HTTP/1.1\r\n               line ends of the file mean nothing; \r \n \t \0 \\ \xNN as in C
//   \{a*9000}  \{gap 100}            repetition; bytes that were not captured
//   ```
//   ```messages
//   start 0                          the lines of http1-replay.ts, last the state: idle, open, broken or lost
//   ```
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Piece } from './http1-replay.js';

export interface Http1Case {
  readonly title: string;
  readonly isRequest: boolean;
  readonly methods: readonly string[];
  readonly isFinished: boolean;
  readonly pieces: readonly Piece[];
  readonly expected: readonly string[];
}

const BLOCKS = /^```(request|response)(.*)\n([\s\S]*?)\n```\n+```messages\n([\s\S]*?)\n```/m;
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|\{(\S+?)\*(\d+)\}|\{gap (\d+)\}|([rnt0\\]))/g;
const CHARACTERS: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', 0: '\0', '\\': '\\' };

/** A line as the fixtures write it: long runs of one character as a repetition. */
export function abbreviate(line: string): string {
  return line.replace(/([^\\])\1{39,}/g, (run, character) => `\\{${character}*${run.length}}`);
}

/** The input of a block as bytes and gaps. */
export function readInput(block: string): Piece[] {
  const pieces: Piece[] = [];
  let text = '';
  let at = 0;
  // As latin1: a character of the file that is not ASCII stands for its UTF-8 bytes.
  const source = Buffer.from(block.replaceAll('\n', ''), 'utf8').toString('latin1');
  for (const match of source.matchAll(ESCAPE)) {
    text += source.slice(at, match.index);
    at = match.index + match[0].length;
    const [, hex, repeated, count, gap, letter] = match;
    if (hex !== undefined) text += String.fromCharCode(Number.parseInt(hex, 16));
    else if (repeated !== undefined) text += repeated.repeat(Number(count));
    else if (letter !== undefined) text += CHARACTERS[letter] ?? '';
    else {
      if (text !== '') pieces.push(Buffer.from(text, 'latin1'));
      text = '';
      pieces.push(Number(gap));
    }
  }
  text += source.slice(at);
  if (text !== '') pieces.push(Buffer.from(text, 'latin1'));
  return pieces;
}

function readCase(section: string, file: string): Http1Case {
  const title = `${file}: ${section.slice(0, section.indexOf('\n')).trim()}`;
  const match = BLOCKS.exec(section);
  if (match === null) throw new Error(`${title}: a case needs a block of input and a block of messages`);
  const words = (match[2] ?? '')
    .trim()
    .split(/\s+/)
    .filter(word => word !== '');
  return {
    title,
    isRequest: match[1] === 'request',
    methods: words.find(word => word !== 'finish')?.split(',') ?? ['GET'],
    isFinished: words.includes('finish'),
    pieces: readInput(match[3] ?? ''),
    expected: (match[4] ?? '').split('\n').map(line => line.trim()),
  };
}

/** All cases of a folder of Markdown files. */
export function readCases(folder: string): Http1Case[] {
  const files = readdirSync(folder).filter(name => name.endsWith('.md'));
  return files.flatMap(file =>
    readFileSync(join(folder, file), 'utf8')
      .split(/^## /m)
      .slice(1)
      .map(section => readCase(section, file)),
  );
}
