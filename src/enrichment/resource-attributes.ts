// The value of OTEL_RESOURCE_ATTRIBUTES (OpenTelemetry specification, "Resource SDK": comma-separated `key=value`, both
// percent-encoded) goes in, attributes come out. A value with any error is discarded whole, as the specification asks.

const ATTRIBUTES_MAX = 64;
const TEXT_MAX = 1024;

/** The attributes of a value, in order; [] if it is empty or has an error. */
export function parseResourceAttributes(text: string): readonly (readonly [string, string])[] {
  const attributes: [string, string][] = [];
  for (const pair of text.split(',')) {
    if (pair.trim() === '') continue;
    const equals = pair.indexOf('=');
    if (equals < 1 || attributes.length === ATTRIBUTES_MAX) return [];
    const key = decode(pair.slice(0, equals).trim());
    const value = decode(pair.slice(equals + 1).trim());
    if (key === null || key === '' || value === null) return [];
    attributes.push([key, value.slice(0, TEXT_MAX)]);
  }
  return attributes;
}

/** One attribute of a value, '' if absent. */
export function resourceAttribute(text: string, key: string): string {
  if (!text.includes(key)) return '';
  for (const [name, value] of parseResourceAttributes(text)) if (name === key) return value;
  return '';
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text.replace(/^"(.*)"$/, '$1'));
  } catch {
    return null; // a malformed escape: the caller discards the whole value
  }
}
