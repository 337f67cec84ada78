/**
 * Child process of one contender.
 */
import { serve } from "../http/child.ts"
import { commandsOf } from "../stores/lanes.ts"
import { contenders } from "./contenders.ts"

serve(commandsOf(contenders))
