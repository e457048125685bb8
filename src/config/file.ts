// The layer of the configuration file. In: YAML 1.2 text. Out: a checked tree, and for every fault one line
// `file:line:column: what is wrong and what is allowed`.
import { readFileSync, statSync } from 'node:fs';
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import { AgentError, reasonOf } from '../errors.js';
import { checkSection, type Path } from './check.js';
import type { Layer } from './layers.js';
import { CONFIG_SCHEMA } from './schema.js';

/** A configuration is read into memory whole; nobody writes one of this size by hand. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

export function readConfigFile(file: string): string {
  try {
    const bytes = statSync(file).size;
    if (bytes > MAX_FILE_BYTES) throw new Error(`it has ${bytes} bytes, at most ${MAX_FILE_BYTES} are allowed`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new AgentError('CONFIG_UNREADABLE', { file, reason: reasonOf(error) }, { cause: error });
  }
}

export function fileLayer(file: string, text: string, fail: (problem: string) => void): Layer {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const position = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  for (const fault of document.errors) fail(`${position(fault.pos[0])}: ${fault.message}`);
  if (document.errors.length > 0) return { tree: {}, originOf: () => '' };
  const where = (path: Path, at: 'key' | 'value'): string => position(offsetOf(document, path, at));
  const tree = checkSection(CONFIG_SCHEMA, toPlain(document, file), [], (path, message, at) => {
    const subject = at === 'key' ? path.slice(0, -1) : path;
    fail(`${where(path, at)}: ${subject.length === 0 ? '' : `${dotted(subject)}: `}${message}`);
  });
  return { tree, originOf: path => (document.hasIn(path) ? where(path, 'key') : '') };
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS() as unknown;
  } catch (error) {
    // Too many aliases (the "billion laughs" attack), or an alias without anchor.
    throw new AgentError('CONFIG_INVALID', { problems: `${file}:1:1: ${reasonOf(error)}` }, { cause: error });
  }
}

/** Offset of the key or value at a path; of the nearest thing around it where the path leads through an alias. */
function offsetOf(document: Document, path: Path, at: 'key' | 'value'): number {
  for (let depth = path.length; depth > 0; depth--) {
    const inner = path.slice(0, depth);
    const node = document.getIn(inner, true);
    const parent = depth === 1 ? document.contents : document.getIn(inner.slice(0, -1), true);
    const key = inner.at(-1);
    if ((at === 'key' || !isNode(node) || node.range == null) && isMap(parent)) {
      const pair = parent.items.find(item => isPair(item) && isScalar(item.key) && String(item.key.value) === key);
      if (isScalar(pair?.key) && pair.key.range != null) return pair.key.range[0];
    }
    if (isNode(node) && node.range != null) return node.range[0];
  }
  return 0;
}

function dotted(path: Path): string {
  return path
    .map(key => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .slice(1);
}
