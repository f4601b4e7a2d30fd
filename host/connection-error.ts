/** Why a gateway could not be reached, in words, and told apart where the remedy differs. */
import type { GatewayUrl } from './gateway-url.ts'
import { EXIT, UserError } from './user-error.ts'

/** @param untrusted what the TLS layer holds against the certificate, if that is why it failed. */
export function connectionError(url: GatewayUrl, error: Error, untrusted?: unknown): UserError {
  if (error instanceof UserError) return error
  return untrusted ? mistrusted(url, codeOf(error)) : unreachable(url, error)
}

/** Does not say which pin was expected: a log is read by more people than the pin is meant for. */
export function pinMismatch(url: GatewayUrl): UserError {
  return new UserError({
    code: 'E_PIN_MISMATCH',
    message: `the certificate of ${url.origin} is not the pinned one`,
    why: 'the key of the gateway or of its CA was replaced, or somebody is in between',
    fix: 'ask whoever runs the gateway for its current fingerprint',
  })
}

export function gatewayTimeout(url: GatewayUrl): UserError {
  const message = `${url.origin} did not answer in time`
  return new UserError({ code: 'E_GATEWAY_TIMEOUT', message, exitCode: EXIT.timeout })
}

function mistrusted(url: GatewayUrl, code: string): UserError {
  return new UserError({
    code: 'E_TLS_UNTRUSTED',
    message: `the certificate of ${url.origin} is not trusted`,
    why: MISTRUST[code] ?? `it does not end at a trusted CA (${code})`,
    fix: REMEDY[code] ?? "give the gateway's own CA with --ca FILE",
  })
}

const MISTRUST: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for other names than this one',
}

const REMEDY: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "restart `claw up`, which renews it, or set this machine's clock",
  CERT_NOT_YET_VALID: "set this machine's clock, or the gateway's",
  ERR_TLS_CERT_ALTNAME_INVALID: 'use a name it is for, or restart `claw up` with --name NAME',
}

function unreachable(url: GatewayUrl, error: Error): UserError {
  return new UserError({
    code: 'E_GATEWAY_UNREACHABLE',
    message: `${url.origin} cannot be reached`,
    why: REASON[codeOf(error)] ?? error.message,
    exitCode: EXIT.unavailable,
  })
}

const REASON: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing is listening there',
  ECONNRESET: 'the connection broke',
  EHOSTUNREACH: 'there is no route to it',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up just now',
  ETIMEDOUT: 'it does not answer',
  EPROTO: 'what listens there does not speak TLS as the gateway does',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what listens there does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'what listens there does not speak TLS',
}

const codeOf = (error: Error): string => ('code' in error ? String(error.code) : '')
