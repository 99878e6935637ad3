/** Loads `rules.toml`, turning the legacy list and the tables into one form. */
import { readToml } from './config-file.ts'
import { readFields, type Findings } from './read.ts'
import { rulesFields } from './rules-fields.ts'
import { defaultsOf } from './schema.ts'
import type { Action, InboundRule, OutboundRule, RulesSettings, RuleSet } from './settings.ts'

/**
 * Without a file the defaults of the fields hold: everything is allowed. Returns undefined when the file is wrong:
 * unlike in the reference endpoint, that never means "allow all", and a rule without a valid action is a problem
 * instead of being skipped.
 */
export function loadRules(file: string | null, findings: Findings): RulesSettings | undefined {
  if (file === null) return { inbound: ruleSet(null, INBOUND), outbound: ruleSet(null, OUTBOUND) }
  const raw = readToml(file, file, 'Invalid rules file', findings)
  if (raw === undefined) return undefined
  const fields = readFields(rulesFields, raw, file, findings)
  if (fields === undefined) return undefined
  const { rule, inbound, outbound } = fields
  if (rule.length > 0 && inbound !== null)
    findings.problem(
      file,
      'rule',
      'Invalid rules file: [[rule]] and [inbound] are two forms of the same: use one',
    )
  const inboundRules = inbound?.rule ?? rule
  for (const each of [...inboundRules, ...(outbound?.rule ?? [])]) warnUnconditional(each, file, findings)
  return {
    inbound: { ...ruleSet(inbound, INBOUND), rules: inboundRules },
    outbound: ruleSet(outbound, OUTBOUND),
  }
}

const INBOUND = defaultsOf(rulesFields.inbound)
const OUTBOUND = defaultsOf(rulesFields.outbound)

interface RuleTable<Rule> {
  readonly default_action: Action
  readonly rule: readonly Rule[]
}

function ruleSet<Rule>(table: RuleTable<Rule> | null, absent: RuleTable<Rule>): RuleSet<Rule> {
  const { default_action, rule: rules } = table ?? absent
  return { default_action, rules }
}

/**
 * A final `deny` for everything is normal; a rule that lost its condition to a misspelt key is not, and looks the same.
 */
function warnUnconditional(rule: InboundRule | OutboundRule, file: string, findings: Findings): void {
  const path = findings.placeOf(rule)
  const { action, ...conditions } = rule
  if (Object.values(conditions).some((each) => each !== null)) return
  const misspelt = findings.warnings.some((each) => each.file === file && each.path.startsWith(`${path}.`))
  if (misspelt)
    findings.warn(file, path, `without the unknown key this rule has no condition: ${action} for all`)
}
