package sentence

// What is expected of a file that cannot be read as a table.
const (
	saveSV = " Spara tabellen som .xlsx, .xls, .csv eller .txt (tabbavgränsad) och skicka den filen."
	saveEN = " Save the table as .xlsx, .xls, .csv or .txt (tab-separated) and send that file."

	splitSV = " Dela upp den i mindre filer, var och en med rubrikerna."
	splitEN = " Split it into smaller files, each with the headings."
)

// files holds why a file of bonus checks is refused as a whole, by code. These
// are answered in both languages at once, as the reasons about single rows are.
var files = map[string]words{
	"file_empty":       {"Filen är tom. Ett kalkylark eller en textfil med bonuscheckar väntas.", "The file is empty; a spreadsheet or text file of bonus checks is expected."},
	"file_too_large":   {"Filen har {bytes} byte, och högst {most} tas emot på en gång. Dela upp den, varje del med rubrikerna, eller skicka den med make import, som gör det.", "The file has {bytes} bytes, and at most {most} are taken at once. Split it, each part with the headings, or send it with make import, which does that."},
	"file_large":       {"Filen är större än {mib} MiB." + splitSV, "The file is larger than {mib} MiB." + splitEN},
	"file_rows":        {"Tabellen har fler än {limit} rader." + splitSV, "The table has more than {limit} rows." + splitEN},
	"file_cells":       {"Tabellen har fler än {limit} celler." + splitSV, "The table has more than {limit} cells." + splitEN},
	"file_text":        {"Tabellen har mer än {mib} MiB text." + splitSV, "The table holds more than {mib} MiB of text." + splitEN},
	"file_columns":     {"{cell} ligger till höger om kolumn {column}. En tabell får ha {limit} kolumner.", "{cell} is to the right of column {column}. A table may have {limit} columns."},
	"file_cell_long":   {"{cell} har fler än {limit} tecken, vilket är gränsen för en cell.", "{cell} holds more than {limit} characters, which is the limit of a cell."},
	"file_cell_longer": {"Arbetsboken har en cell med fler än {limit} tecken, vilket är gränsen för en cell.", "The workbook has a cell with more than {limit} characters, which is the limit of a cell."},
	"file_unpacked":    {"Arbetsboken är uppackad större än {mib} MiB." + splitSV, "The workbook unpacks to more than {mib} MiB." + splitEN},
	"file_elements":    {"Arbetsboken har för många celler, de tomma medräknade. Kopiera bara tabellen till en ny arbetsbok, spara den och skicka den filen.", "The workbook has too many cells, empty ones counted. Copy the table alone into a new workbook, save it and send that file."},
	"file_parts":       {"Arbetsboken består av fler än {limit} delar." + saveSV, "The workbook is made of more than {limit} parts." + saveEN},
	"file_texts":       {"Arbetsboken har fler än {limit} texter." + splitSV, "The workbook holds more than {limit} texts." + splitEN},

	"file_other":          {"Filen är {what} och ingen tabell." + saveSV, "The file is {what} and not a table." + saveEN},
	"file_zip":            {"Filen är ett ZIP-arkiv utan någon arbetsbok i." + saveSV, "The file is a ZIP archive without a workbook in it." + saveEN},
	"file_xlsb":           {"Filen är en binär arbetsbok (.xlsb), som inte kan läsas." + saveSV, "The file is a binary workbook (.xlsb), which is not read." + saveEN},
	"file_ods":            {"Filen är en OpenDocument-fil (.ods), som inte kan läsas." + saveSV, "The file is an OpenDocument file (.ods), which is not read." + saveEN},
	"file_excel95":        {"Arbetsboken är från Excel 95 eller äldre, som inte kan läsas." + saveSV, "The workbook is of Excel 95 or older, which is not read." + saveEN},
	"file_no_workbook":    {"Filen innehåller ingen arbetsbok." + saveSV, "The file holds no workbook." + saveEN},
	"file_no_sheet":       {"Arbetsboken har inget synligt kalkylblad." + saveSV, "The workbook has no visible worksheet." + saveEN},
	"file_macros":         {"Arbetsboken innehåller makron, som inte tas emot. Spara den som .xlsx, .csv eller .txt (tabbavgränsad) utan makron, och skicka den filen.", "The workbook holds macros, which are refused. Save it as .xlsx, .csv or .txt (tab-separated), without macros, and send that file."},
	"file_password":       {"Arbetsboken är skyddad med lösenord. Spara den utan och skicka den filen.", "The workbook is protected with a password. Save it without one and send that file."},
	"file_damaged":        {"Arbetsboken är skadad. Öppna den i ett kalkylprogram, spara den igen som .xlsx och skicka den filen.", "The workbook is damaged. Open it in a spreadsheet program, save it again as .xlsx and send that file."},
	"file_formula":        {"{cell} innehåller en formel. Kopiera cellerna och klistra in dem som värden, spara filen och skicka den igen.", "{cell} holds a formula. Copy the cells and paste them as values, save the file and send it again."},
	"file_error":          {"{cell} innehåller ett fel, till exempel #SAKNAS!. Rätta eller töm cellen, spara filen och skicka den igen.", "{cell} holds an error, such as #N/A. Correct or empty the cell, save the file and send it again."},
	"file_misread":        {"{cell} har bokstäver som tidigare lästs med fel teckenkodning, till exempel Ã¥ för å. Gå tillbaka till filen där de är rätt, spara den som .xlsx eller som text i UTF-8 (i Excel: CSV UTF-8) och skicka den filen.", "{cell} holds letters that were read in the wrong encoding before, such as Ã¥ for å. Go back to the file in which they are right, save it as .xlsx or as UTF-8 text (in Excel: CSV UTF-8) and send that file."},
	"file_character":      {"{cell} innehåller ett tecken som är skadat eller inte är text. Skriv om cellen, spara filen och skicka den igen.", "{cell} holds a character that is damaged or none of a text. Type the cell again, save the file and send it again."},
	"file_encoding":       {"Filen är text i en teckenkodning som inte går att avgöra: rad {line} har en bokstav som kan vara flera, eller ingen. Spara filen som .xlsx eller som text i UTF-8 (i Excel: CSV UTF-8) och skicka den.", "The file is text in an encoding that cannot be told: line {line} holds a letter that could be several, or none. Save the file as .xlsx, or as UTF-8 text (in Excel: CSV UTF-8), and send that one."},
	"file_utf8_marked":    {"Filen säger att den är UTF-8, men det är inte rad {line}. Spara den igen som UTF-8.", "The file says that it is UTF-8, which line {line} is not. Save it again as UTF-8."},
	"file_utf8":           {"Filen är UTF-8, men det är inte rad {line}. Spara den igen som UTF-8.", "The file is UTF-8, which line {line} is not. Save it again as UTF-8."},
	"file_utf16":          {"Filen är text i UTF-16 som är avklippt. Spara den igen, som UTF-8 om det går att välja.", "The file is UTF-16 text that is cut off. Save it again, as UTF-8 if you can choose."},
	"file_not_text":       {"Filen är inte text." + saveSV, "The file is not text." + saveEN},
	"file_line_damaged":   {"Rad {line} innehåller ett tecken som är skadat. Rätta det och spara filen som UTF-8.", "Line {line} holds a character that is damaged. Correct it, and save the file as UTF-8."},
	"file_line_control":   {"Filen är ingen tabell: rad {line} innehåller ett styrtecken." + saveSV, "The file is not a table: line {line} holds a control character." + saveEN},
	"file_quotation":      {"{cell} börjar med ett citattecken, men fortsätter inte som väntat: en cell inom citattecken slutar med ett, och ett inuti den skrivs två gånger.", "{cell} begins with a quotation mark, and is not as expected after it: a cell in quotation marks ends with one, and one inside it is written twice."},
	"file_no_table":       {"Tabellen är tom. En rad med rubriker väntas, och en rad för varje post under den.", "The table is empty. A line of headings is expected, and a row for each record below it."},
	"file_sheet":          {"Bara det första synliga kalkylbladet läses, som är ”{sheet}”, och arbetsboken har {others} till. Finns tabellen i ett annat, flytta det längst fram, spara filen och skicka den igen.", "Only the first visible worksheet is read, which is “{sheet}”, and the workbook has {others} more. If the table is in another one, move that to the front, save the file and send it again."},
	"file_sheet_alone":    {"Bara det första synliga kalkylbladet läses, som är ”{sheet}”.", "Only the first visible worksheet is read, which is “{sheet}”."},
	"file_no_rows":        {"Filen har inga rader under rubrikerna.", "file has no rows below its headings."},
	"file_no_person":      {"Kolumnerna har varken e-postadress eller telefonnummer. Första raden ska ha rubriker, en av dem email eller phone.", "columns have neither an email address nor a phone number; the first row is expected to have headings, one of them email or phone."},
	"file_no_checks":      {"Kolumnerna har inga bonuscheckar. Rubrikerna bonuscheckid och value väntas, eller bonuschecks för en kolumn med JSON.", "columns have no bonus checks; headings bonuscheckid and value are expected, or bonuschecks for a column with the JSON."},
	"file_no_value":       {"Kolumnerna säger inte vad bonuscheckarna är värda. Rubriken value väntas.", "columns do not say what the bonus checks are worth; the heading value is expected."},
	"file_two_lists":      {"{first} har radens bonuscheck och {second} alla kundens bonuscheckar. En av dem väntas.", "columns {first} has a row's bonus check and {second} all bonus checks of a customer, one of them is expected."},
	"file_column_twice":   {"{first} och {second} innehåller samma sak. En av dem väntas.", "columns {first} and {second} both hold {noun}, one of them is expected."},
	"file_row_bad":        {"Inget importerades: en rad går inte att läsa. detail säger varför.", "Nothing was imported: 1 row cannot be read. detail says why."},
	"file_rows_bad":       {"Inget importerades: {count} rader går inte att läsa. detail säger varför.", "Nothing was imported: {count} rows cannot be read. detail says why."},
	"file_form_none":      {"Formuläret innehåller ingen fil. En fil väntas, så som curl skickar den med -F file=@bonuschecks.xlsx.", "The form holds no file; one file is expected, as curl sends it with -F file=@bonuschecks.xlsx."},
	"file_form_wrong":     {"Formuläret är inte multipart/form-data som dess huvud säger. En fil väntas, så som curl skickar den med -F file=@bonuschecks.xlsx.", "The form is not multipart/form-data as its header says; one file is expected, as curl sends it with -F file=@bonuschecks.xlsx."},
	"file_form_many":      {"Formuläret innehåller mer än en fil. En fil väntas, så som curl skickar den med -F file=@bonuschecks.xlsx.", "The form holds more than one file; one file is expected, as curl sends it with -F file=@bonuschecks.xlsx."},
	"file_form_cut":       {"Formuläret är avklippt. En fil väntas, så som curl skickar den med -F file=@bonuschecks.xlsx.", "The form breaks off; one file is expected, as curl sends it with -F file=@bonuschecks.xlsx."},
	"file_switch":         {"{switch} ska vara true eller false.", "{switch} is neither true nor false."},
	"file_switch_unknown": {"{switch} är ingen känd inställning för en fil med bonuscheckar; dryrun är det. Inget importerades.", "{switch} is not known of a file of bonus checks; dryrun is. Nothing was imported."},
	"file_withdraw":       {"Bonuscheckar kan inte dras tillbaka med en fil ännu. Inget importerades.", "Bonus checks cannot be withdrawn with a file yet. Nothing was imported."},
}

// kinds are what a file can be that is sent by mistake.
var kinds = map[string]words{
	"pdf":       {"ett PDF-dokument", "a PDF document"},
	"rtf":       {"ett RTF-dokument", "an RTF document"},
	"gzip":      {"en komprimerad fil (gzip)", "a compressed (gzip) file"},
	"7z":        {"en komprimerad fil (7z)", "a compressed (7z) file"},
	"rar":       {"en komprimerad fil (rar)", "a compressed (rar) file"},
	"picture":   {"en bild", "a picture"},
	"web":       {"en webbsida eller XML, vad namnet än säger,", "a web page or XML, whatever its name says,"},
	"saved_web": {"en sparad webbsida, vad namnet än säger,", "a saved web page, whatever its name says,"},
	"json":      {"JSON", "JSON"},
	"doc":       {"ett textdokument (.doc)", "a text document (.doc)"},
	"ppt":       {"en presentation (.ppt)", "a presentation (.ppt)"},
}

// Sheet and Others are arguments that any sentence about a file may have beside
// its own: the name of the worksheet that was read, and how many others there
// are, which a sentence of its own tells then.
const Sheet, Others = "sheet", "others"

// sheetCode returns the code of that sentence, "" if there is none.
func sheetCode(code string, args Args) string {
	switch {
	case args[Sheet] == nil || code == "file_sheet" || code == "file_sheet_alone":
		return ""
	case args[Others] == nil:
		return "file_sheet_alone"
	}
	return "file_sheet"
}
