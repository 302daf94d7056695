package customer

// LooksPersonal is worth a table of its own: it guards what must not leave the
// shop.
var LooksPersonal = personalNumber

// RenewedForTest is how old the note of a refusal gets before it is renewed.
const RenewedForTest = renewed + 1
