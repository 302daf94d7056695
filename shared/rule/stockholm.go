package rule

import "sitoo-rule/shared/zone"

// Stockholm is the time zone of Rule's clock: timestamps without a zone, in
// fields and in Retry-After, are local there.
var Stockholm = zone.Stockholm
