// Globs of the config: `*` and `?` stay within a path segment, `**` crosses segments, `[a-z]`, `[!a]` and `{a,b}` as in
// shells (POSIX.1-2017, XCU 2.13). A glob becomes one anchored regular expression; a bracket or brace that is not closed
// stands for itself.

/** Compiles a glob to a predicate on whole texts. */
export function compileGlob(glob: string): (text: string) => boolean {
  const expression = new RegExp(`^${translate(glob)}$`, 's');
  return text => expression.test(text);
}

function translate(glob: string): string {
  let out = '';
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at] as string;
    if (char === '*') {
      const isDeep = glob[at + 1] === '*';
      if (isDeep) at++;
      out += isDeep ? '.*' : '[^/]*';
    } else if (char === '?') out += '[^/]';
    else if (char === '\\' && at + 1 < glob.length) out += quote(glob[++at] as string);
    else if (char === '[' && closing(glob, at) > 0) {
      const end = closing(glob, at);
      out += bracket(glob.slice(at + 1, end));
      at = end;
    } else if (char === '{' && glob.indexOf('}', at) > 0) {
      const end = glob.indexOf('}', at);
      out += `(?:${glob
        .slice(at + 1, end)
        .split(',')
        .map(translate)
        .join('|')})`;
      at = end;
    } else out += quote(char);
  }
  return out;
}

/** Index of the bracket that closes the one at `at` (a `]` right behind it is a member), -1 if none does. */
function closing(glob: string, at: number): number {
  const first = glob[at + 1] === '!' || glob[at + 1] === '^' ? at + 2 : at + 1;
  return glob.indexOf(']', first + 1);
}

function bracket(body: string): string {
  const isNegated = body.startsWith('!') || body.startsWith('^');
  const members = isNegated ? body.slice(1) : body;
  let out = '';
  for (let at = 0; at < members.length; at++) {
    const from = members[at] as string;
    const to = members[at + 2];
    if (members[at + 1] !== '-' || to === undefined) {
      out += quote(from);
      continue;
    }
    // A range that runs backwards matches nothing in a shell and is an error in a regular expression.
    if (from <= to) out += `${quote(from)}-${quote(to)}`;
    at += 2;
  }
  return out === '' ? '(?!)' : `[${isNegated ? '^' : ''}${out}]`;
}

function quote(char: string): string {
  return char.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}
