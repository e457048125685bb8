// Holds ARCHITECTURE.md to the tree: its list of files is complete, what its text names exists, and its table of imports
// is exactly what the code does. The table is read from the document, so that neither can drift from the other.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'node:test';

const DOCUMENT = readFileSync('ARCHITECTURE.md', 'utf8');
/** Modules of src/ that everybody may use and that use nothing. */
const LEAVES = ['clock.ts', 'errno.ts', 'errors.ts', 'exists.ts'];
const SOURCE = /(\.(ts|c|h)|^Makefile)$/;

function sourceFiles(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter(entry => entry.isFile() && SOURCE.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name));
}

const files = [...sourceFiles('src'), ...sourceFiles('bpf')].sort();

/** A heading's text up to the next heading of the same depth. */
function section(title: string): string {
  const from = DOCUMENT.indexOf(`\n## ${title}\n`);
  assert.ok(from >= 0, `ARCHITECTURE.md has no section "${title}"`);
  const to = DOCUMENT.indexOf('\n## ', from + 1);
  return DOCUMENT.slice(from, to < 0 ? undefined : to);
}

/** Lines of the code blocks: `folder/` at the margin, files below it. */
function listedFiles(): { readonly path: string; readonly words: string }[] {
  const listed: { path: string; words: string }[] = [];
  for (const [, block = ''] of section('Files').matchAll(/```\n([\s\S]*?)```/g)) {
    let folder = '';
    for (const line of block.split('\n')) {
      const [name = '', ...words] = line.trim().split(/\s+/);
      if (name.endsWith('/') && !line.startsWith(' ')) folder = name;
      else if (name !== '') listed.push({ path: join(folder, name), words: words.join(' ') });
    }
  }
  return listed;
}

test('every file of src/ and bpf/ is listed, once, with a word about it', () => {
  const listed = listedFiles();
  assert.deepEqual(listed.map(({ path }) => path).sort(), files);
  for (const { path, words } of listed) assert.ok(words.length > 3, `${path}: what is it?`);
});

test('what the text names exists', () => {
  const named = [...DOCUMENT.matchAll(/`((?:src|bpf|test)\/[\w./-]+)`|\]\(([\w./-]+)\)/g)].map(
    match => match[1] ?? match[2] ?? '',
  );
  assert.ok(named.length > 20);
  for (const path of named) assert.ok(existsSync(path), `${path} does not exist`);
});

interface Import {
  readonly file: string;
  /** Folder of src/ that the file is in, or the file itself directly in src/. */
  readonly from: string;
  readonly to: string;
  readonly isTypeOnly: boolean;
}

function place(path: string): string {
  const inside = path.slice('src/'.length);
  return inside.includes('/') ? (inside.split('/')[0] as string) : inside;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const found: Import[] = [];
  const statements = text.matchAll(/^(?:import|export)\s+(type\s+)?((?:[^'";]*?)\s+from\s+)?'(\.[^']+)'/gm);
  for (const [, type, clause = '', target = ''] of statements) {
    const names = /\{([\s\S]*)\}/
      .exec(clause)?.[1]
      ?.split(',')
      .map(name => name.trim())
      .filter(name => name !== '');
    const isTypeOnly = type !== undefined || (names?.every(name => name.startsWith('type ')) ?? false);
    const to = place(normalize(join(dirname(file), target)).replace(/\.js$/, '.ts'));
    if (to !== place(file)) found.push({ file, from: place(file), to, isTypeOnly });
  }
  for (const [, target = ''] of text.matchAll(/\bimport\('(\.[^']+)'\)/g)) {
    const to = place(normalize(join(dirname(file), target)).replace(/\.js$/, '.ts'));
    if (to !== place(file)) found.push({ file, from: place(file), to, isTypeOnly: false });
  }
  return found;
}

const imports = files.filter(file => file.startsWith('src/')).flatMap(importsOf);
const folders = [...new Set(files.filter(file => /^src\/\w+\//.test(file)).map(place))].sort();

interface Allowed {
  readonly calls: ReadonlySet<string>;
  readonly types: ReadonlySet<string>;
}

function allowedImports(): Map<string, Allowed> {
  const table = new Map<string, Allowed>();
  for (const [, folder = '', calls = '', types = ''] of section('Imports').matchAll(/^\| (\w+) \|(.*)\|(.*)\|$/gm)) {
    if (folder === 'folder') continue;
    const names = (cell: string): Set<string> =>
      new Set(
        cell
          .split(',')
          .map(name => name.trim())
          .filter(name => name !== ''),
      );
    table.set(folder, { calls: names(calls), types: names(types) });
  }
  return table;
}

test('imports between folders are those of the table, no more and no fewer', () => {
  const table = allowedImports();
  assert.deepEqual([...table.keys()].sort(), folders);
  assert.ok(imports.length > 100, 'the imports were not found');
  for (const folder of folders) {
    const own = imports.filter(({ from, to }) => from === folder && !LEAVES.includes(to));
    const called = new Set(own.filter(({ isTypeOnly }) => !isTypeOnly).map(({ to }) => to));
    const known = new Set(own.map(({ to }) => to).filter(to => !called.has(to)));
    const { calls, types } = table.get(folder) as Allowed;
    assert.deepEqual([...called].sort(), [...calls].sort(), `what ${folder} calls`);
    assert.deepEqual([...known].sort(), [...types].sort(), `what ${folder} knows types of`);
  }
});

test('calls between folders run in no circle', () => {
  const table = allowedImports();
  const visit = (folder: string, path: readonly string[]): void => {
    assert.ok(!path.includes(folder), [...path, folder].join(' -> '));
    for (const next of table.get(folder)?.calls ?? []) visit(next, [...path, folder]);
  };
  for (const folder of table.keys()) visit(folder, []);
});

test('leaves use nothing of ours', () => {
  for (const leaf of LEAVES) {
    assert.ok(files.includes(`src/${leaf}`));
    assert.deepEqual(
      imports.filter(({ from }) => from === leaf),
      [],
    );
  }
});
