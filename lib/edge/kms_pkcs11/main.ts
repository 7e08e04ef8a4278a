/** The process with the module, where the program runs from its sources. */
import { serve } from './child.ts'

if (import.meta.main) serve()
