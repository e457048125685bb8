// Where values go through channels of Go (bpf/go_channel.bpf.c). In: functions of a Go program. Out: places by program, in the
// order in which they are to be probed, or a reason: with some of them only, items would be put down to the wrong request.
// Entries of functions that hand a value to one that waits, and the calls within others that move it into or out of a
// channel's buffer: the channel is locked there.
import type { Executable, FoundSymbol } from './executable.js';
import { callsIn, entryIn, type GoPlaces, returnsIn } from './go-functions.js';
import type { Architecture } from './instructions.js';

const MOVE = 'runtime.typedmemmove';
const CLEAR = 'runtime.typedmemclr';
const ENTRIES: Readonly<Record<string, string>> = {
  'runtime.recv': 'go_channel_receive',
  'runtime.closechan': 'go_channel_closed',
  'runtime.send': 'go_channel_send',
};
const CALLS: readonly (readonly [program: string, callee: string, callers: readonly string[]])[] = [
  ['go_channel_passed', MOVE, ['runtime.recv']],
  ['go_channel_emptied', CLEAR, ['runtime.chanrecv', 'runtime.selectgo']],
  ['go_channel_filled', MOVE, ['runtime.chansend', 'runtime.selectgo']],
];
/** Not every program has these. */
const GROUP_ADD = 'sync.(*WaitGroup).Add';
const GROUP_WAIT = 'sync.runtime_SemacquireWaitGroup';
const COND_TELL = ['sync.runtime_notifyListNotifyAll', 'sync.runtime_notifyListNotifyOne'] as const;
/** In which a goroutine waits for its turn, which one at another request may give to it. */
const POOLS = [
  'net/http.(*Transport).getConn',
  'database/sql.(*DB).conn',
  'github.com/valyala/fasthttp.(*HostClient).acquireConn',
  'github.com/valyala/fasthttp.(*HostClient).AcquireConn',
  'github.com/redis/go-redis/v9/internal/pool.(*ConnPool).queuedNewConn',
  'golang.org/x/sync/semaphore.(*Weighted).Acquire',
] as const;
const OPTIONAL: readonly string[] = [GROUP_ADD, GROUP_WAIT, ...COND_TELL, ...POOLS];
export const CHANNEL_FUNCTIONS: readonly string[] = [
  ...new Set([MOVE, CLEAR, ...Object.keys(ENTRIES), ...CALLS.flatMap(([, , callers]) => callers), ...OPTIONAL]),
];

export function goChannelPlaces(
  executable: Executable,
  functions: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): GoPlaces | string {
  if (architecture !== 'x64') return 'where arguments of Go functions lie is known for x86-64 only';
  const missing = CHANNEL_FUNCTIONS.find(name => !OPTIONAL.includes(name) && !functions.has(name));
  if (missing !== undefined) return `${missing} was not found`;
  const at = (name: string): FoundSymbol => functions.get(name) as FoundSymbol;
  const places = new Map<string, readonly number[]>();
  const pools = POOLS.map(name => functions.get(name)).filter(one => one !== undefined);
  const returns = pools.map(pool => returnsIn(executable, pool, architecture));
  const left = returns.indexOf(null);
  if (left >= 0) return `the code of ${pools[left]?.name} cannot be walked to its returns`;
  if (pools.length > 0) {
    // Who enters has to be seen to return.
    places.set(
      'go_pool_return',
      returns.flatMap(one => one ?? []),
    );
    places.set(
      'go_pool_enter',
      pools.map(pool => entryIn(executable, pool, architecture)),
    );
  }
  // Those that take first: what they do not know is for nobody.
  for (const [program, callee, callers] of CALLS) {
    const offsets: number[] = [];
    for (const caller of callers) {
      const calls = callsIn(executable, at(caller), at(callee));
      if (calls === null || calls.length === 0)
        return `the code of ${caller} cannot be walked to its calls of ${callee}`;
      offsets.push(...calls);
    }
    places.set(program, offsets);
  }
  const told = COND_TELL.map(name => functions.get(name)).filter(one => one !== undefined);
  if (told.length > 0)
    places.set(
      'go_cond_told',
      told.map(one => entryIn(executable, one, architecture)),
    );
  const wait = functions.get(GROUP_WAIT);
  if (wait !== undefined) places.set('go_group_wait', [entryIn(executable, wait, architecture)]);
  for (const [name, program] of Object.entries(ENTRIES))
    places.set(program, [entryIn(executable, at(name), architecture)]);
  const add = functions.get(GROUP_ADD);
  if (add !== undefined) places.set('go_group_add', [entryIn(executable, add, architecture)]);
  return places;
}
