/**
 * What proves each line of the findings. `npm run findings` runs exactly these tests. A title is written as in its file, with what stands
 * before it in `describe`; its placeholders stand for every case.
 */

import { BEYOND } from './registry/beyond.ts'
import { DEFECTS } from './registry/defects.ts'
import type { Entry } from './registry/entry.ts'
import { ERRORS } from './registry/errors.ts'
import { FILE_MODES } from './registry/file-modes.ts'
import { KEPT } from './registry/kept.ts'
import { MESH_KEYS } from './registry/mesh-keys.ts'
import { RECOMMENDATIONS } from './registry/recommendations.ts'
import { TRANSPORT } from './registry/transport.ts'

export const REGISTRY: Readonly<Record<string, Entry>> = {
  ...TRANSPORT,
  ...FILE_MODES,
  ...ERRORS,
  ...KEPT,
  ...RECOMMENDATIONS,
  ...DEFECTS,
  ...BEYOND,
  ...MESH_KEYS,
}
