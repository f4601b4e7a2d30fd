/** The token of an `Authorization: Bearer` header (RFC 6750). */
export function bearerToken(authorization: string | undefined): string | undefined {
  const [scheme, token, ...rest] = (authorization ?? '').split(' ')
  return scheme === 'Bearer' && token && rest.length === 0 ? token : undefined
}
