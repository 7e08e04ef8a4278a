CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `confirm_anchor`(IN p_number BIGINT UNSIGNED, IN p_sha256 VARBINARY(255))
    MODIFIES SQL DATA
BEGIN
  DECLARE v_recorded BIGINT UNSIGNED;
  DECLARE v_confirmed BIGINT UNSIGNED;
  DECLARE v_sha256 BINARY(32);
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;
  SELECT recorded_number, confirmed_number, confirmed_sha256 INTO v_recorded, v_confirmed, v_sha256
    FROM anchor_state WHERE id = 1 FOR UPDATE;
  IF p_number = v_confirmed + 1 AND p_number = v_recorded AND LENGTH(p_sha256) = 32 THEN
    UPDATE anchor_state SET confirmed_number = p_number, confirmed_sha256 = p_sha256,
      confirmed_at = CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')
    WHERE id = 1;
  ELSEIF v_confirmed = 0 OR NOT (p_number <=> v_confirmed AND p_sha256 <=> v_sha256) THEN
    ROLLBACK AND NO CHAIN NO RELEASE;
    CALL signal_state('45N01');
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
END
