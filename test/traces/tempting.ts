// Scenarios in which nothing that can be seen says for certain whom some calls are for, by the reason. They tempt to join
// wrongly: right is what has no parent, or the right one. In all others every call has a parent to be found.

export const TEMPTING: Readonly<Record<string, readonly string[]>> = {
  'the request has been answered, or nobody waits for the call': [
    'nginx with Lua, calls after the response',
    'node, calls after the response',
    'gunicorn threads, a job that nobody waits for',
    'gevent, a call after the response',
    'gevent, a greenlet that nobody waits for',
    'uvloop, a call after the response',
    'uvloop, a call that nobody waits for',
    'asyncio, a call after the response',
    'asyncio, a call that nobody waits for',
    'waitress, a call after the response',
    'puma, calls after the response',
    'Ruby, WEBrick, a call after the response',
    'java, a call after the response, and calls of its own',
    'java, virtual threads, a call after the response, and calls of its own',
    'go, workers that call after the answer',
    'go, calls that go on after the response',
    'rust, calls after the response',
    'ASP.NET Core and a trace header, calls after the response',
  ],
  'one call is for several requests, or its answer comes with others': [
    'node, a call for several requests, from a timer',
    'node, a call for several requests, from an immediate',
    "node, requests that wait for a timer's call",
    'node, requests that wait for the same call',
    'node, a thread that calls for several',
    'undici, a call for several requests, from an immediate',
    'gevent, a greenlet that tells when it has called for several',
    'uvloop, a worker that answers when it has called for several',
    'asyncio, a worker that answers when it has called for several',
    'java, a call for several requests',
    'java, a call that two requests share',
    'java, virtual threads, a call that two requests share',
    'go, workers that collect items',
    'go, workers that answer for several at once',
    'go, a call for each five items',
    'go, singleflight by channels',
    'go, a DataLoader for all requests',
    'go, a goroutine that calls for several and closes a channel',
    'go, a goroutine that calls for several and tells by a condition',
    'go, a goroutine that calls for several and counts down',
    'rust, a worker that answers when it has called for several',
    'ASP.NET Core and a trace header, a task that calls for several',
  ],
  'a queue, a lock or a pool of the program decides whose call is next': [
    'node, a pool of two connections that its timer uses, too',
    'node, requests that wait for the next one',
    'node, calls that the next request sets off',
    'node, a request in twenty that waits for the next one',
    'node, a queue of jobs, some of which pause',
    'node, a queue of promises',
    'node, a queue of promises that hands on an x-request-id that two requests have',
    'node, a queue of promises that goes on with a trace that two requests have',
    'node, a queue of promises, three calls at once',
    'node, a queue of callbacks',
    'node, a queue of callbacks that is seldom full',
    'node, a lock',
    'node, jobs that wait for one timer',
    'node, a timer that the first request starts',
    'node, a timer that each request puts off',
    'node, a queue that its timer uses, too',
    'node, a queue of one that a slow timer uses, too',
    'node, a queue of two that a slow timer uses, too',
    'node, a queue of ten that a slow timer uses, too',
    'node, threads with a job at a time',
    'node, a thread that lets calls wait',
    'node, a thread that does the last first',
    'node, a thread whose next message sets calls off',
    'node, a thread that calls for itself, too',
    'undici, a queue of calls',
    'undici, a stack of calls',
    'undici, a queue of calls, three at once',
    'undici, immediates that make the latest call',
    'undici, calls that the next request sets off',
    'undici, calls that the next request makes',
    'undici, a request in twenty that waits for the next one',
    'undici, immediates that do what is urgent first',
    'undici, request, two calls in turn, a pool of two connections that a timer uses, too',
    'java, permits that not all wait for',
    'java, permits that nobody waits for',
    'java, calls that the next one sends',
    'java, calls that the next one has sent',
    'java, jobs of which the latest is taken first',
    'java, virtual threads, calls that the next one sends',
    'java, virtual threads, calls that the next one has sent',
    'java, virtual threads, jobs of which the latest is taken first',
  ],
  'a worker or a timer of the program calls for whom it likes': [
    'nginx with Lua, calls that a timer makes',
    'gunicorn threads, jobs that make the latest call',
    'gunicorn threads, a job that comes and goes',
    'gevent, a greenlet that comes and goes',
    'gevent, a greenlet that the first request starts',
    'asyncio, tasks that make the latest call in turn',
    'asyncio, a worker that is waited for by one, and not by the others',
    'asyncio, the latest call in turn, told by a callback',
    "asyncio, the latest call in turn, told by a callback's callback",
    'asyncio, the latest call in turn, told by a timer',
    'asyncio, the latest call in turn, told in another context',
    'asyncio, the latest call in turn, told by a task',
    'asyncio, the latest call in turn, told after the response',
    'asyncio, tasks that send the latest request',
    'asyncio, requests that wait for the next one',
    'uvloop, the latest call in turn, told by a callback',
    "uvloop, the latest call in turn, told by a callback's callback",
    'uvloop, the latest call in turn, told by a timer',
    'uvloop, the latest call in turn, told in another context',
    'uvloop, the latest call in turn, told by a task',
    'uvloop, the latest call in turn, told after the response',
    'uvloop, tasks that send the latest request',
    'uvloop, requests that wait for the next one',
    'FastAPI, a worker that comes and goes, below middleware',
    'FastAPI, a worker that comes and goes, below middleware, a pool of two connections',
    'FastAPI, a worker that looks for more, below middleware',
    'FastAPI, tasks that make the latest call in turn, below middleware',
    'uvloop, a worker that comes and goes',
    'uvloop, functions that make the latest call',
    'uvloop, a thread that comes and goes',
    'uvloop, tasks that take the latest request',
    'asyncio, a worker that comes and goes',
    'asyncio, a worker for those that yield and look',
    'asyncio, a worker that the first request starts',
    'asyncio, a worker that answers, too',
    'asyncio, tasks that take the latest call',
    'asyncio, tasks that take the latest request',
    'asyncio, a thread that comes and goes',
    'asyncio, functions that make the latest call',
    'C, a loop, each step prepared by other threads',
    'C, Boost.Asio, calls prepared by other threads',
    'C, threads that do the next step of any request',
    'C, threads that do the latest step of any request',
    'Ruby, async, a pool of two connections',
    'ASP.NET Core and a trace header, tasks that take calls out of a channel',
    'ASP.NET Core and a trace header, tasks that take the latest call',
    'ASP.NET Core and a trace header, tasks that the first request starts',
    'ASP.NET Core and a Request-Id, tasks that the first request starts',
    'go, workers, items of no request between',
    'go, workers that take the next item first',
    'go, workers that answer in another order',
    'go, workers that answer each second time in another order',
    'go, a dispatcher that gives the latest first',
    'go, a channel that only wakes',
    'go, jobs of a list',
    'go, jobs of a list, the latest first',
    'go, pond',
    'rust, workers that the first request starts',
    'rust, workers that take the latest job',
    'rust, a worker that answers when it has made the next call',
  ],
};

// Scenarios some calls of which are known to get another request as parent, by the reason. Each is made to show just that. What is wrong in
// any other scenario makes the command fail; if nothing is wrong in one of these any more, it says so.

export const KNOWN_WRONG: Readonly<Record<string, readonly string[]>> = {
  'a thread that waits for its own call makes one of another request: it is like one that calls for itself': [
    "C, threads that do others' calls while they wait",
  ],
  'a task takes the call of another request out of a list of the program: it is like one that calls for itself': [
    'rust, tasks that make the latest call in turn',
  ],
};

const KNOWN: ReadonlySet<string> = new Set(Object.values(KNOWN_WRONG).flat());

export function isKnownWrong(scenario: string): boolean {
  return KNOWN.has(scenario);
}

/** What was measured: `failed` is wrong and not known to be, of `mended` it was known and is not so any more. */
export class WrongCounts {
  readonly #wrong = new Map<string, number>();

  add(scenario: string, wrong: number): void {
    this.#wrong.set(scenario, (this.#wrong.get(scenario) ?? 0) + wrong);
  }

  get failed(): readonly string[] {
    return this.#names(([name, wrong]) => wrong > 0 && !KNOWN.has(name));
  }

  get mended(): readonly string[] {
    return this.#names(([name, wrong]) => wrong === 0 && KNOWN.has(name));
  }

  #names(isOne: (entry: [string, number]) => boolean): readonly string[] {
    return [...this.#wrong].filter(isOne).map(([name]) => name);
  }
}
