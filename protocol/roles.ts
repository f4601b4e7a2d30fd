/** What people and API keys may do: each role may do what the ones before it may. Deny by default. */
import * as z from 'zod'

export const Role = z.enum(['viewer', 'operator', 'admin'])
export type Role = z.infer<typeof Role>

export const includesRole = (has: Role, needs: Role): boolean =>
  Role.options.indexOf(has) >= Role.options.indexOf(needs)
