/** What a rule decides, whatever its conditions look at. */
export type RuleAction = 'allow' | 'deny'
