/** All mutations, by what they are about. */

import { ANSWERS } from './answers.ts'
import { AUDIT_TRAIL } from './audit-trail.ts'
import { CHANGES_OF_SECRETS } from './changes-of-secrets.ts'
import { EMBEDDED } from './embedded.ts'
import { ENFORCEMENT } from './enforcement.ts'
import { IDENTITIES } from './identities.ts'
import { KEY_FILES } from './key-files.ts'
import { KEYS_OF_THE_MESH } from './keys-of-the-mesh.ts'
import { LEAVING } from './leaving.ts'
import { MESH_POLICY } from './mesh-policy.ts'
import type { Mutation } from './mutation.ts'
import { NAMES_OF_THE_MESH } from './names-of-the-mesh.ts'
import { NODE_SECRETS } from './node-secrets.ts'
import { OWNER_SECRETS } from './owner-secrets.ts'
import { ROLES } from './roles.ts'
import { SESSIONS } from './sessions.ts'
import { TRANSPORT } from './transport.ts'
import { VALUES } from './values.ts'
import { WATCHED_MESH } from './watched-mesh.ts'
import { WORDS } from './words.ts'

export const MUTATIONS: readonly Mutation[] = [
  ...TRANSPORT,
  ...KEY_FILES,
  ...WORDS,
  ...IDENTITIES,
  ...SESSIONS,
  ...VALUES,
  ...EMBEDDED,
  ...ROLES,
  ...ANSWERS,
  ...ENFORCEMENT,
  ...KEYS_OF_THE_MESH,
  ...LEAVING,
  ...NAMES_OF_THE_MESH,
  ...MESH_POLICY,
  ...WATCHED_MESH,
  ...NODE_SECRETS,
  ...OWNER_SECRETS,
  ...AUDIT_TRAIL,
  ...CHANGES_OF_SECRETS,
]
