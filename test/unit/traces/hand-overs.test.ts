// Calls for items of a channel: whose they are shows by what comes back for the item.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type Exchange,
  type ExchangeKind,
  KIND_CLIENT,
  KIND_SERVER,
  newExchange,
} from '../../../src/exchanges/exchange.js';
import { TraceContext } from '../../../src/traces/context.js';
import { HandOvers } from '../../../src/traces/hand-overs.js';

const PEER = {
  remoteAddress: '',
  remotePort: 1,
  localAddress: '',
  localPort: 2,
  transport: 'tcp',
  networkType: '',
} as const;
const PID = 42;
/** Long after any response. */
const LATER_NS = 1e9;

function make(kind: ExchangeKind, item = 0): Exchange {
  const made = newExchange(kind, PEER, new TraceContext(), 1, 2);
  made.pid = PID;
  made.item = item;
  made.causeGrade = 'goroutine';
  return made;
}

function play(
  act: (handOvers: HandOvers, add: (item: number, server?: Exchange) => Exchange, request: Exchange) => void,
) {
  const parents = new Map<Exchange, Exchange | null>();
  const handOvers = new HandOvers((client, server) => parents.set(client, server));
  const request = make(KIND_SERVER);
  act(
    handOvers,
    (item, server = request) => {
      const client = make(KIND_CLIENT, item);
      handOvers.add(client, server);
      return client;
    },
    request,
  );
  handOvers.settle(LATER_NS);
  handOvers.settle(2 * LATER_NS);
  return parents;
}

test('a call is of the request to which something came back for its item, and of no other', () => {
  const other = make(KIND_SERVER);
  const calls: Exchange[] = [];
  const parents = play((handOvers, add, request) => {
    calls.push(add(7), add(7), add(8), add(7, other));
    handOvers.onReturned(request, 7);
    calls.push(add(7)); // after that
    for (const call of calls) assert.equal(call.trace.waiting, 1);
  });
  const [first, second, unreturned, others, late] = calls.map(call => parents.get(call));
  assert.ok(first !== null && first !== undefined && first === second);
  assert.deepEqual([unreturned, others, late], [null, null, null]);
  for (const call of calls) assert.equal(call.trace.waiting, 0);
});

test('what came to another request makes the calls for the item nobody’s, once, and those of other processes stay', () => {
  let strayed: Exchange | null = null;
  let foreign: Exchange | null = null;
  let kept: Exchange | null = null;
  let request: Exchange | null = null;
  const parents = play((handOvers, add, its) => {
    request = its;
    strayed = add(7);
    kept = add(8);
    foreign = make(KIND_CLIENT, 7);
    foreign.pid = PID + 1;
    handOvers.add(foreign, its);
    handOvers.onReturned(its, 7);
    handOvers.onReturned(its, 8);
    handOvers.onStrayed(PID, 7);
    assert.equal(strayed.trace.waiting, 0);
    handOvers.onStrayed(PID, 7);
    handOvers.onReturned(its, 7);
  });
  assert.equal(parents.get(strayed as unknown as Exchange), null);
  assert.equal(parents.get(foreign as unknown as Exchange), request);
  assert.equal(parents.get(kept as unknown as Exchange), request);
});

test('the end of the input decides about all that wait', () => {
  let call: Exchange | null = null;
  const parents = new Map<Exchange, Exchange | null>();
  const handOvers = new HandOvers((client, server) => parents.set(client, server));
  const request = make(KIND_SERVER);
  request.isServing = true;
  call = make(KIND_CLIENT, 7);
  handOvers.add(call, request);
  handOvers.onReturned(request, 7);
  handOvers.settle(LATER_NS);
  assert.equal(parents.size, 0);
  handOvers.settleAll();
  assert.equal(parents.get(call), request);
});

test('a job of Python is its request’s if the one that asks for its result gives the response, unless one has done something for others', () => {
  const calls: Exchange[] = [];
  const job = (item: number, pid = PID): Exchange => {
    const call = make(KIND_CLIENT, item);
    call.causeGrade = 'task';
    call.pid = pid;
    calls.push(call);
    return call;
  };
  let others: Exchange | null = null;
  let own: Exchange | null = null;
  const parents = play((handOvers, _add, request) => {
    own = request;
    own.isOwnAnswer = true;
    others = make(KIND_SERVER);
    handOvers.add(job(7), request);
    handOvers.add(job(8), others); // somebody else gives its response
    handOvers.add(job(9), request); // nobody asks for it
    handOvers.add(job(10, PID + 1), request);
    handOvers.add(job(11, PID + 1), request);
    handOvers.onReturned(request, 7);
    handOvers.onReturned(others, 8);
    handOvers.onReturned(request, 10);
    handOvers.onStrayed(PID + 1, 11);
  });
  assert.deepEqual(
    calls.map(call => parents.get(call)),
    [own, null, null, null, null],
  );
});
