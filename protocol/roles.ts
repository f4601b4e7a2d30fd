/** What people and API keys may do: each role may do what the ones before it may. Deny by default. */
import * as z from 'zod'

export const Role = z.enum(['viewer', 'operator', 'admin'])
export type Role = z.infer<typeof Role>

const RANKS: ReadonlyMap<string, number> = new Map(Role.options.map((role, rank) => [role, rank]))

/** NaN for a name that is no role: whatever it is compared with, the answer is no. */
const rankOf = (role: Role): number => RANKS.get(role) ?? Number.NaN

export const includesRole = (has: Role, needs: Role): boolean => rankOf(has) >= rankOf(needs)
