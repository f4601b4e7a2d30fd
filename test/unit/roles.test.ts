import { expect, test } from 'vitest'
import { includesRole, Role } from '../../protocol/roles.ts'

test('each role includes itself and those before it', () => {
  const [viewer, operator, admin] = Role.options
  const included = Role.options.map((has) => Role.options.filter((needs) => includesRole(has, needs)))
  expect(included).toEqual([[viewer], [viewer, operator], [viewer, operator, admin]])
})

test('a name that is no role includes none, and is included in none (X26)', () => {
  for (const name of ['', 'root', 'Admin', 'node', '*', 'constructor', '__proto__', undefined, null]) {
    const stranger = name as Role
    for (const role of Role.options) {
      expect(includesRole(stranger, role), `${name} for ${role}`).toBe(false)
      expect(includesRole(role, stranger), `${role} for ${name}`).toBe(false)
    }
    expect(includesRole(stranger, stranger), `${name} for itself`).toBe(false)
  }
})
