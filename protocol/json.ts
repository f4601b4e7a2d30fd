/** JSON from elsewhere, before a schema has looked at it. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined, which JSON cannot say, for whatever is not JSON in UTF-8. */
export function parseJson(json: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof json === 'string' ? json : decoder.decode(json))
  } catch {
    return undefined
  }
}
