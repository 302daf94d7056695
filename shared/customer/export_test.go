package customer

// PersonalNumber is worth a table of its own: it guards what must not leave the
// shop.
var PersonalNumber = personalNumber
