-- What synchronous calls were given: a row holds all that was written at once of one function, so that the inputs of a thousand
-- calls are no more work than a few. What was recorded in the older form is forgotten.

DROP TABLE inputs;
UPDATE sums SET value = 0 WHERE name = 'input_bytes';

CREATE TABLE inputs (
    seq       INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    function  TEXT NOT NULL,
    first     TEXT NOT NULL, -- smallest and largest id of these calls
    last      TEXT NOT NULL,
    body      BLOB NOT NULL -- observe.inputs._Row as MessagePack
);
CREATE INDEX inputs_by_call ON inputs (namespace, last, first);
CREATE INDEX inputs_by_function ON inputs (namespace, function);
CREATE TRIGGER inputs_in AFTER INSERT ON inputs BEGIN
    UPDATE sums SET value = value + length(new.body) WHERE name = 'input_bytes';
END;
CREATE TRIGGER inputs_out AFTER DELETE ON inputs BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = 'input_bytes';
END;
