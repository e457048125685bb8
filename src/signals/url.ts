// Text of URLs as it may leave the machine: values of query parameters that sign or authorise a request are replaced, as
// the conventions ask (url.full and url.query, "sensitive query parameters"); keys stay.

const REDACTED = 'REDACTED';
/** The conventions' default list; keys compare by case. */
const SENSITIVE_KEYS: ReadonlySet<string> = new Set([
  'AWSAccessKeyId',
  'Signature',
  'sig',
  'X-Amz-Credential',
  'X-Amz-Security-Token',
  'X-Amz-Signature',
  'X-Goog-Signature',
]);
const HAS_SENSITIVE_KEY =
  /(?:^|&)(?:AWSAccessKeyId|Signature|sig|X-Amz-Credential|X-Amz-Security-Token|X-Amz-Signature|X-Goog-Signature)=/;

/** The query of a request target, without `?` and with sensitive values redacted; '' if there is none. */
export function targetQuery(target: string): string {
  const mark = target.indexOf('?');
  if (mark < 0) return '';
  const query = target.slice(mark + 1);
  if (!HAS_SENSITIVE_KEY.test(query)) return query;
  return query
    .split('&')
    .map(pair => {
      const equals = pair.indexOf('=');
      return equals > 0 && SENSITIVE_KEYS.has(pair.slice(0, equals)) ? `${pair.slice(0, equals)}=${REDACTED}` : pair;
    })
    .join('&');
}
