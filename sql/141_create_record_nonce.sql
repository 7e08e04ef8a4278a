CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `record_nonce`(IN p_action VARCHAR(255), IN p_hash VARBINARY(255))
    MODIFIES SQL DATA
BEGIN
  DECLARE v_payload VARBINARY(4096);
  COMMIT AND NO CHAIN NO RELEASE;
  IF p_action NOT IN ('nonce', 'manifest') OR LENGTH(p_hash) <> 32 OR p_action IS NULL OR p_hash IS NULL THEN
    CALL signal_state('45W01');
  END IF;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_payload = NULL;
    CALL queue_server_event(p_action,
      CONCAT('{"', IF(p_action = 'nonce', 'nonce', 'digest'), '":"', LOWER(HEX(p_hash)), '"}'), v_payload);
  END;
  IF v_payload IS NULL THEN
    ROLLBACK AND NO CHAIN NO RELEASE;
    CALL signal_state('45W00');
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
  SELECT CONVERT(v_payload USING utf8mb4) AS receipt;
END
