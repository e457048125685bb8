// FastCGI 1.0 (specification of 1996), as web servers call PHP-FPM and others: one parser per direction. In: the bytes of a
// stream in order, and how many were not captured. Out: requests with the heads that their parameters are, responses with the
// CGI header that they begin with. Lost: requests of several ids at a time, roles other than the responder's (BROKEN), and
// parameters that were not captured (the head is then announced as truncated).

import * as record from './fastcgi/record.js';
import { RequestParser } from './fastcgi/request.js';
import { ResponseParser } from './fastcgi/response.js';
import type { Protocol } from './protocol.js';

/**
 * Could bytes[from, to) begin a run of requests? Also with what the request before has left: its empty STDIN, which applications
 * read when they have answered, and the next request with it.
 */
function looksLikeRequest(bytes: Uint8Array, from: number, to: number): boolean {
  if (record.beginsRequest(bytes, from, to) || record.endsStream(record.STDIN, bytes, from, to)) return true;
  return record.isHeaderOf(record.GET_VALUES, bytes, from, to) && bytes[from + 2] === 0 && bytes[from + 3] === 0;
}

function looksLikeResponse(bytes: Uint8Array, from: number, to: number): boolean {
  const isOutput =
    record.isHeaderOf(record.STDOUT, bytes, from, to) || record.isHeaderOf(record.STDERR, bytes, from, to);
  return isOutput || record.isHeaderOf(record.END_REQUEST, bytes, from, to);
}

export const fastcgi: Protocol = {
  name: 'fastcgi',
  looksLikeRequest,
  looksLikeResponse,
  createRequestParser: sink => new RequestParser(sink),
  createResponseParser: sink => new ResponseParser(sink),
};
