"""What a VT100 of 24 lines and 80 columns shows: enough of one for the programs that are driven here."""
import re

LINES, COLUMNS = 24, 80
_SEQUENCE = re.compile(
    rb'\x1b\[(?P<private>[?>=!]?)(?P<numbers>[0-9;]*)[ "$\']?(?P<final>[@-~])'  # CSI
    rb'|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)'  # OSC
    rb'|\x1bP.*?\x1b\\'  # DCS
    rb'|\x1b[()#].|\x1b(?P<escape>[^\[\]P()#])', re.DOTALL)
_INCOMPLETE = re.compile(rb'\x1b(\[[?>=!]?[0-9;]*[ "$\']?|\][^\x07]*|P.*|[()#])?\Z', re.DOTALL)


class Screen:

    def __init__(self):
        self.cells = [[' '] * COLUMNS for _ in range(LINES)]
        self.line = self.column = 0
        self.top, self.bottom = 0, LINES - 1
        self.saved = (0, 0)
        self.wraps = False  # the last column has been written: the next character goes to the next line
        self.rest = b''

    def feed(self, data):
        data = self.rest + data
        self.rest = b''
        at = 0
        while at < len(data):
            if data[at] == 0x1b:
                found = _SEQUENCE.match(data, at)
                if not found:
                    if _INCOMPLETE.match(data, at):
                        self.rest = data[at:]
                        return
                    at += 1
                    continue
                if found['final']:
                    self._csi(found)
                elif found['escape']:
                    self._escape(found['escape'])
                at = found.end()
            elif data[at] < 0x20 or data[at] == 0x7f:
                self._control(data[at])
                at += 1
            else:
                end = at
                while end < len(data) and data[end] >= 0x20 and data[end] != 0x7f:
                    end += 1
                try:
                    text = data[at:end].decode()
                except UnicodeDecodeError:
                    if end == len(data) and len(data) - at < 4:
                        self.rest = data[at:]
                        return
                    text = data[at:end].decode(errors='replace')
                for character in text:
                    self._put(character)
                at = end

    def text(self):
        return '\n'.join(''.join(line).rstrip() for line in self.cells)

    def shot(self):
        return self.text().rstrip('\n') + '\n[cursor %d,%d]\n' % (self.line + 1, self.column + 1)

    def _put(self, character):
        if self.wraps:
            self.column = 0
            self._line_feed()
        self.cells[self.line][self.column] = character
        self.wraps = self.column == COLUMNS - 1
        if not self.wraps:
            self.column += 1

    def _line_feed(self):
        self.wraps = False
        if self.line == self.bottom:
            self._scroll(self.top, 1)
        elif self.line < LINES - 1:
            self.line += 1

    def _scroll(self, first, count):
        for _ in range(min(count, LINES)):
            del self.cells[first]
            self.cells.insert(self.bottom, [' '] * COLUMNS)

    def _scroll_back(self, first, count):
        for _ in range(min(count, LINES)):
            del self.cells[self.bottom]
            self.cells.insert(first, [' '] * COLUMNS)

    def _control(self, byte):
        self.wraps = False
        if byte == 0x08:
            self.column = max(self.column - 1, 0)
        elif byte == 0x09:
            self.column = min(self.column // 8 * 8 + 8, COLUMNS - 1)
        elif byte in (0x0a, 0x0b, 0x0c):
            self._line_feed()
        elif byte == 0x0d:
            self.column = 0

    def _escape(self, final):
        if final == b'M':
            if self.line == self.top:
                self._scroll_back(self.top, 1)
            else:
                self.line = max(self.line - 1, 0)
        elif final in b'DE':
            if final == b'E':
                self.column = 0
            self._line_feed()
        elif final == b'7':
            self.saved = (self.line, self.column)
        elif final == b'8':
            self.line, self.column = self.saved
        elif final == b'c':
            self.__init__()

    def _erase(self, line, first, last):
        self.cells[line][first:last] = [' '] * (last - first)

    def _csi(self, found):
        if found['private']:
            return
        numbers = [int(n) if n else 0 for n in found['numbers'].split(b';')]
        first = numbers[0]
        count = max(first, 1)
        final = found['final']
        if final not in b'm':
            self.wraps = False
        if final in b'Hf':
            self.line = min(max(first, 1), LINES) - 1
            self.column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), COLUMNS) - 1
        elif final == b'A':
            self.line = max(self.line - count, 0)
        elif final == b'B':
            self.line = min(self.line + count, LINES - 1)
        elif final == b'C':
            self.column = min(self.column + count, COLUMNS - 1)
        elif final == b'D':
            self.column = max(self.column - count, 0)
        elif final == b'G':
            self.column = min(count, COLUMNS) - 1
        elif final == b'd':
            self.line = min(count, LINES) - 1
        elif final == b'J':
            for line in range(LINES):
                if first == 2 or (first == 0 and line > self.line) or (first == 1 and line < self.line):
                    self._erase(line, 0, COLUMNS)
            if first != 2:
                self._csi_line(first)
        elif final == b'K':
            self._csi_line(first)
        elif final == b'L':
            self._scroll_back(self.line, count)
        elif final == b'M':
            self._scroll(self.line, count)
        elif final == b'P':
            row = self.cells[self.line]
            del row[self.column:self.column + count]
            row.extend([' '] * (COLUMNS - len(row)))
        elif final == b'@':
            row = self.cells[self.line]
            row[self.column:self.column] = [' '] * count
            del row[COLUMNS:]
        elif final == b'X':
            self._erase(self.line, self.column, min(self.column + count, COLUMNS))
        elif final == b'S':
            self._scroll(self.top, count)
        elif final == b'T':
            self._scroll_back(self.top, count)
        elif final == b'r':
            self.top = max(first, 1) - 1
            self.bottom = (numbers[1] if len(numbers) > 1 and numbers[1] else LINES) - 1
            self.line = self.column = 0

    def _csi_line(self, which):
        if which == 0:
            self._erase(self.line, self.column, COLUMNS)
        elif which == 1:
            self._erase(self.line, 0, self.column + 1)
        else:
            self._erase(self.line, 0, COLUMNS)
