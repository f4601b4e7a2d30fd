/** Files of this package beside its programs. */
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'

const ROOT = dirname(findPackageJSON('.', import.meta.url) ?? import.meta.dirname)

export const inCheckout = (path: string): string => join(ROOT, path)
