/** The settings that could weaken the transport, and why neither program offers them (H-1, M1.5). */
import { isPlaintext } from './gateway-url.ts'
import { EXIT, UserError } from './user-error.ts'

/** There is no plaintext port to speak to, so the opt-out of the original could only hand tokens and keys to somebody else. */
export function requireTls(value: boolean): void {
  if (value) return
  throw new UserError({
    code: 'E_REQUIRE_TLS',
    message: 'false is not offered: no gateway has a plaintext port, so nothing but a leak could come of it',
    fix: 'remove it; for a gateway with a CA of its own, name that CA',
    exitCode: EXIT.badConfig,
  })
}

/** Of a CA or a pin: it must not look as if it protected a connection that has no certificate. */
export function checkPinnedUrl(url: string | undefined): void {
  if (url === undefined || !isPlaintext(url)) return
  throw new UserError({
    code: 'E_PIN_WITHOUT_TLS',
    message: "without TLS there is no certificate to check; the gateway's address is plaintext",
    fix: 'use https:// there',
    exitCode: EXIT.badConfig,
  })
}
