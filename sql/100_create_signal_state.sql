-- SIGNAL takes a literal alone, and RESIGNAL would leave the key's value in SHOW WARNINGS.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `signal_state`(IN p_state CHAR(5))
    NO SQL
BEGIN
  CASE p_state
    WHEN '45T01' THEN SIGNAL SQLSTATE '45T01' SET MESSAGE_TEXT = 'no tenant context';
    WHEN '45T02' THEN SIGNAL SQLSTATE '45T02' SET MESSAGE_TEXT = 'tenant not granted to this account';
    WHEN '45T03' THEN SIGNAL SQLSTATE '45T03' SET MESSAGE_TEXT = 'the transaction is not READ COMMITTED';
    WHEN '45G01' THEN SIGNAL SQLSTATE '45G01' SET MESSAGE_TEXT = 'gate closed: events wait unsealed';
    WHEN '45G02' THEN SIGNAL SQLSTATE '45G02' SET MESSAGE_TEXT = 'gate closed: the last anchor is too old';
    WHEN '45G03' THEN SIGNAL SQLSTATE '45G03' SET MESSAGE_TEXT = 'gate closed: the clock went backwards';
    WHEN '45W01' THEN SIGNAL SQLSTATE '45W01' SET MESSAGE_TEXT = 'a value is refused';
    WHEN '45W02' THEN SIGNAL SQLSTATE '45W02' SET MESSAGE_TEXT = 'version conflict';
    WHEN '45W03' THEN SIGNAL SQLSTATE '45W03' SET MESSAGE_TEXT = 'a parent row is missing';
    WHEN '45W04' THEN SIGNAL SQLSTATE '45W04' SET MESSAGE_TEXT = 'the event id was used for something else';
    WHEN '45W05' THEN SIGNAL SQLSTATE '45W05' SET MESSAGE_TEXT = 'the row exists already';
    WHEN '45W06' THEN SIGNAL SQLSTATE '45W06' SET MESSAGE_TEXT = 'the row does not exist or is not live';
    WHEN '45W07' THEN SIGNAL SQLSTATE '45W07' SET MESSAGE_TEXT = 'the data key is unknown, retired or of another purpose';
    WHEN '45W08' THEN SIGNAL SQLSTATE '45W08' SET MESSAGE_TEXT = 'the amounts of the transfer do not agree';
    WHEN '45S01' THEN SIGNAL SQLSTATE '45S01' SET MESSAGE_TEXT = 'the sealer found an inconsistency';
    WHEN '45N01' THEN SIGNAL SQLSTATE '45N01' SET MESSAGE_TEXT = 'anchor number or predecessor refused';
    ELSE SIGNAL SQLSTATE '45W00' SET MESSAGE_TEXT = 'the write failed';
  END CASE;
END
