// Attributes as OTLP KeyValue messages (common.proto: KeyValue{1 key, 2 value}, AnyValue{1 string, 2 bool, 3 int,
// 4 double, 5 array}). Keys are encoded once; lengths are computed ahead where the value's size is known, so that the
// usual attribute is one pass without patching. Nothing is lost: an "integer" that is not one is written as a double.
import type { AttributeValue } from '../enrichment/service.js';
import { ProtoWriter, varintSize, wordsOf } from './proto-writer.js';

/** Longest text tried as ASCII; its lengths fit one byte each. */
const SHORT_TEXT = 48;

const DOUBLE_BYTES = 8;

const KEY = 0x0a;
const VALUE = 0x12;
const ANY_STRING = 0x0a;
const ANY_BOOL = 0x10;
const ANY_INT = 0x18;
const ANY_DOUBLE = 0x21;
const ANY_ARRAY = 0x2a;

/** An attribute key with its encoded `key` field. */
export interface AttributeKey {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The same as words. */
  readonly words: Int32Array;
}

/** Encodes an attribute key once, for all its uses. */
export function attributeKey(name: string): AttributeKey {
  const text = Buffer.from(name);
  const size = varintSize(text.length);
  const bytes = new Uint8Array(1 + size + text.length);
  bytes[0] = KEY;
  let rest = text.length;
  for (let i = 1; i <= size; i++) {
    bytes[i] = i < size ? (rest & 127) | 128 : rest;
    rest >>>= 7;
  }
  bytes.set(text, 1 + size);
  return { name, bytes, words: wordsOf(bytes) };
}

/** Four attributes with double values that mostly come together, encoded but for the values. */
export interface DoubleRow {
  readonly bytes: Uint8Array;
  /** Where the values go. */
  readonly offsets: readonly [number, number, number, number];
}

/** Encodes four keys, for `writeDoubleRow`; `tag` is that of the repeated KeyValue field. */
export function encodeDoubleRow(tag: number, keys: readonly AttributeKey[]): DoubleRow {
  const writer = new ProtoWriter(512);
  const offsets = keys.map(key => {
    writeDouble(writer, tag, key, 0);
    return writer.at - DOUBLE_BYTES;
  });
  return { bytes: writer.copy(), offsets: offsets as unknown as DoubleRow['offsets'] };
}

/** One copy and four stores, for four walks over keys. */
export function writeDoubleRow(
  writer: ProtoWriter,
  row: DoubleRow,
  first: number,
  second: number,
  third: number,
  fourth: number,
): void {
  const { at } = writer;
  const { offsets } = row;
  writer.raw(row.bytes);
  writer.doubleAt(at + offsets[0], first);
  writer.doubleAt(at + offsets[1], second);
  writer.doubleAt(at + offsets[2], third);
  writer.doubleAt(at + offsets[3], fourth);
}

/** Room for tags and lengths around a short attribute, and for what a key is padded with. */
const FRAME_BYTES = 20;

/** Tag, length and key of a KeyValue whose AnyValue takes `valueBytes` (< 128). */
function head(writer: ProtoWriter, tag: number, key: AttributeKey, valueBytes: number): void {
  const keyBytes = key.bytes.length;
  writer.ensure(keyBytes + valueBytes + FRAME_BYTES);
  const { bytes } = writer;
  let { at } = writer;
  const count = keyBytes + 2 + valueBytes;
  bytes[at++] = tag;
  if (count < 128) {
    bytes[at++] = count;
  } else {
    writer.at = at;
    writer.varint(count);
    at = writer.at;
  }
  writer.at = at;
  // Keys are 10 to 36 bytes: a loop over them took 1.2 times the time of the whole span.
  writer.words(key.words, keyBytes);
  at += keyBytes;
  bytes[at++] = VALUE;
  bytes[at++] = valueBytes;
  writer.at = at;
}

/** `tag` is the one-byte tag of the repeated KeyValue field, here and below. */
export function writeString(writer: ProtoWriter, tag: number, key: AttributeKey, value: string): void {
  const count = value.length;
  if (count <= SHORT_TEXT) {
    const start = writer.at;
    head(writer, tag, key, count + 2);
    const { bytes } = writer;
    let { at } = writer;
    bytes[at++] = ANY_STRING;
    bytes[at++] = count;
    writer.at = at;
    if (writer.tryAscii(value)) return;
    writer.at = start;
  }
  writeLongString(writer, tag, key.bytes, value);
}

function writeLongString(writer: ProtoWriter, tag: number, key: Uint8Array, value: string): void {
  const textBytes = Buffer.byteLength(value);
  const anyBytes = 1 + varintSize(textBytes) + textBytes;
  writer.byte(tag);
  writer.varint(key.length + 1 + varintSize(anyBytes) + anyBytes);
  writer.raw(key);
  writer.byte(VALUE);
  writer.varint(anyBytes);
  writer.byte(ANY_STRING);
  writer.varint(textBytes);
  writer.utf8(value, textBytes);
}

export function writeInt(writer: ProtoWriter, tag: number, key: AttributeKey, value: number): void {
  if (!Number.isSafeInteger(value)) {
    writeDouble(writer, tag, key, value);
    return;
  }
  head(writer, tag, key, 1 + (value < 0 ? 10 : varintSize(value)));
  writer.byte(ANY_INT);
  writer.int64(value);
}

export function writeDouble(writer: ProtoWriter, tag: number, key: AttributeKey, value: number): void {
  head(writer, tag, key, 9);
  writer.byte(ANY_DOUBLE);
  writer.double(value);
}

export function writeBool(writer: ProtoWriter, tag: number, key: AttributeKey, value: boolean): void {
  head(writer, tag, key, 2);
  writer.byte(ANY_BOOL);
  writer.byte(value ? 1 : 0);
}

export function writeStringArray(writer: ProtoWriter, tag: number, key: AttributeKey, values: readonly string[]): void {
  const pair = writer.open(tag);
  writer.raw(key.bytes);
  const any = writer.open(VALUE);
  const array = writer.open(ANY_ARRAY);
  for (let i = 0; i < values.length; i++) {
    const element = writer.open(0x0a);
    writer.stringField(ANY_STRING, values[i] as string);
    writer.close(element);
  }
  writer.close(array);
  writer.close(any);
  writer.close(pair);
}

/** Any value of the model; integers become int64, other numbers doubles. */
export function writeAttribute(writer: ProtoWriter, tag: number, key: AttributeKey, value: AttributeValue): void {
  if (typeof value === 'string') writeString(writer, tag, key, value);
  else if (typeof value === 'number') writeInt(writer, tag, key, value);
  else if (typeof value === 'boolean') writeBool(writer, tag, key, value);
  else writeStringArray(writer, tag, key, value);
}
