package customer

// LooksPersonal is worth a table of its own: it guards what must not leave the
// shop.
var LooksPersonal = personalNumber
